"""Colours that the colour-blind tell apart (Okabe and Ito 2008)."""

BLUE, SKY, GREEN, VERMILION = "#0072B2", "#56B4E9", "#009E73", "#D55E00"
ORANGE, PURPLE, BLACK = "#E69F00", "#CC79A7", "#000000"
MARKERS = {  # of lines that are compared, for print without colours
    BLUE: "o",
    VERMILION: "s",
    GREEN: "D",
    PURPLE: "^",
    ORANGE: "v",
    SKY: "P",
    BLACK: "X",
}
