"""Words and signs of any script, each line's tokens divided by hand."""

import pytest

from metaloop.tasks.text.words import split_words

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"  # man, woman and girl, joined
THUMB, TONE = "\U0001f44d", "\U0001f3fd"
GERMANY, FRANCE = "\U0001f1e9\U0001f1ea", "\U0001f1eb\U0001f1f7"
HEART = "\u2764"


@pytest.mark.parametrize(
    ("sentence", "tokens"),
    [
        ("Don't pay the bill: £5.20!", "don't pay the bill : £ 5 . 20 !"),
        ("snake_case 'quoted' rock'n'roll", "snake _ case ' quoted ' rock'n'roll"),
        ("don\u2019t \u201cshout\u201d", 'don\'t " shout "'),
        ("STRASSE stra\u00dfe", "strasse strasse"),
        # namaste duniya, with the virama (94d) and the vowel signs (947, 941, 93f, 93e) in words
        (
            "\u0928\u092e\u0938\u094d\u0924\u0947, \u0926\u0941\u0928\u093f\u092f\u093e\u0964",
            "\u0928\u092e\u0938\u094d\u0924\u0947 , \u0926\u0941\u0928\u093f\u092f\u093e \u0964",
        ),
        # I like 3 cats, with a full stop of its own
        ("\u6211\u559c\u6b223\u53ea\u732b\u3002", "\u6211 \u559c \u6b22 3 \u53ea \u732b \u3002"),
        # a Han letter and Hiragana; half-width ka is Katakana's
        ("\u732b\u304c\u597d\u304d \uff76", "\u732b \u304c \u597d \u304d \u30ab"),
        # thi ni ("here"): a vowel and a tone over each consonant
        ("\u0e17\u0e35\u0e48\u0e19\u0e35\u0e48", "\u0e17\u0e35\u0e48 \u0e19\u0e35\u0e48"),
        ("\ud55c\uad6d\uc5b4 \ubb38\uc7a5", "\ud55c\uad6d\uc5b4 \ubb38\uc7a5"),
        # kitab ("book"): bare, with vowel signs, stretched; then an Arabic question mark
        (
            "\u0643\u062a\u0627\u0628 \u0643\u0650\u062a\u064e\u0627\u0628 "
            "\u0643\u062a\u0640\u0640\u0627\u0628\u061f",
            "\u0643\u062a\u0627\u0628 \u0643\u062a\u0627\u0628 \u0643\u062a\u0627\u0628 \u061f",
        ),
        (f"ok{THUMB}{THUMB}{TONE} {FAMILY}", f"ok {THUMB} {THUMB}{TONE} {FAMILY}"),
        (f"{GERMANY}{FRANCE} {HEART}\ufe0f{HEART}", f"{GERMANY} {FRANCE} {HEART} {HEART}"),
        ("\uff28\uff45\uff4c\uff4c\uff4f\u3000\uff17\uff15\uff05", "hello 75 %"),
        ("co\u00adoperate\u200b\ufeffnow", "cooperate now"),
    ],
)
def test_a_sentence_is_split_into_words_and_signs(sentence, tokens):
    assert split_words(sentence) == tokens.split(" ")


def test_composed_and_decomposed_letters_are_the_same():
    assert split_words("CAFE\u0301") == split_words("caf\u00e9") == ["caf\u00e9"]
