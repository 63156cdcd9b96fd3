"""Colours that the colour-blind tell apart (Okabe and Ito 2008)."""

BLUE, SKY, GREEN, VERMILION = "#0072B2", "#56B4E9", "#009E73", "#D55E00"
ORANGE, PURPLE, BLACK = "#E69F00", "#CC79A7", "#000000"
