class UserError(ValueError):
    """A mistake the user can mend: the commands print its message without a traceback.

    The message states the rule, what arrived and what to change, in the user's vocabulary.
    """
