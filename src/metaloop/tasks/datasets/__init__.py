"""Any labelled torch Dataset as tasks."""
