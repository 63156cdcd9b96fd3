"""The readers of sentences: padding changes nothing, and models and tasks have to fit."""

import pytest
import torch

from metaloop.errors import UserError
from metaloop.models import MLP, HFEncoder, Siren, WordAttention
from metaloop.run.config.build import build
from metaloop.run.config.run_config import RunConfig
from metaloop.run.train import train
from metaloop.substitutes.attention import ALWAYS
from metaloop.tasks.text.tokens import tokenize
from tests.conftest import composed, shared
from tests.substitutes.nesting import Substituting

BERT = {
    "model_type": "bert",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


def word_attention():
    model = WordAttention(3, 50, embedding_size=8, hidden_size=6)
    torch.nn.init.normal_(model.body[0].query)
    return model


def hf_encoder():
    pytest.importorskip("transformers")
    return HFEncoder(3, 50, pretrained=None, architecture=BERT)


@pytest.mark.parametrize("make", [word_attention, hf_encoder])
def test_padding_changes_no_output(make):
    torch.manual_seed(0)
    model = make().double().eval()
    sentence = torch.tensor([[4, 9, 30]])
    padded = torch.tensor([[4, 9, 30, 0, 0, 0]])
    torch.testing.assert_close(model(padded), model(sentence), rtol=1e-9, atol=1e-12)
    assert model(torch.zeros(1, 4, dtype=torch.int64)).isfinite().all()
    other = torch.tensor([[4, 9, 31]])
    assert not torch.allclose(model(other), model(sentence))


def test_attention_begins_as_the_plain_mean():
    model = WordAttention(3, 50, embedding_size=8, hidden_size=6)
    table = model.body[0].embedding.weight
    mean = model.body[0](torch.tensor([[7, 8, 8, 0]]))
    torch.testing.assert_close(mean[0], (table[7] + 2 * table[8]) / 3)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: MLP(32, 5, hidden=[4], vocabulary_size=100), "tokens .* model=word_attention"),
        (lambda: Siren(32, 5, hidden=[4], w0=1.0, vocabulary_size=9), "Siren needs real inputs"),
        (
            lambda: WordAttention(5, 0, embedding_size=4, hidden_size=4),
            "real values. Choose task=cli",
        ),
    ],
)
def test_models_refuse_inputs_of_the_other_kind(make, says):
    with pytest.raises(UserError, match=says):
        make()


@pytest.mark.parametrize(
    "change", ["model=conv4", "model=mlp", "model=word_attention task=sinusoid"]
)
def test_a_run_whose_model_does_not_read_the_tasks_inputs_is_refused(change):
    with pytest.raises(UserError, match="Choose (model|task)="):
        build(RunConfig.of(composed("task=clinc150", *change.split())))


def test_an_encoder_that_transformers_does_not_know_is_refused():
    pytest.importorskip("transformers")
    for pretrained, architecture in (("/no/such/folder", {}), (None, {"model_type": "nothing"})):
        with pytest.raises(UserError, match="does not give a transformers encoder"):
            HFEncoder(3, 50, pretrained=pretrained, architecture=architecture)


def test_a_hugging_face_tokenizer_and_encoder_are_loaded_from_a_folder(tmp_path):
    transformers = pytest.importorskip("transformers")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "pay", "the", "bill"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    config = transformers.AutoConfig.for_model(**BERT, vocab_size=len(words))
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path)

    place = str(tmp_path)
    rows = tokenize(["pay the bill"], length=7, vocabulary_size=9, tokenizer=place)
    assert rows.tolist() == [[3, 6, 7, 8, 4, 0, 0]]  # one more than [CLS] pay the bill [SEP]
    model = HFEncoder(3, 9, pretrained=place, architecture={})
    assert model(rows).shape == (1, 3)
    with pytest.raises(UserError, match="has 8 tokens.*task.vocabulary_size=9"):
        tokenize(["pay"], length=7, vocabulary_size=8, tokenizer=place)
    with pytest.raises(UserError, match="knows 8 tokens.*task.vocabulary_size=9"):
        HFEncoder(3, 50, pretrained=place, architecture={})


GPT2 = {
    "model_type": "gpt2",
    **{"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 16},
    **{"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
}
ENCODERS = {  # causal, and with an attention that is transformers' own
    "bert": BERT,
    "gpt2": GPT2,
    "mpnet": {**BERT, "model_type": "mpnet"},
}


@pytest.mark.parametrize("architecture", ENCODERS.values(), ids=ENCODERS)
def test_an_encoder_is_vectorised_with_the_mask_that_transformers_makes(architecture):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    model = HFEncoder(3, 50, pretrained=None, architecture=architecture).double()
    tasks = torch.randint(3, 50, (3, 4, 6))
    tasks[:2, ::2, 4:] = 0  # one task is padded nowhere
    outputs = torch.stack([model(rows) for rows in tasks])
    with Substituting(ALWAYS):
        torch.testing.assert_close(torch.func.vmap(model)(tasks), outputs)

    config = transformers.AutoConfig.for_model(**architecture, vocab_size=49)
    model.body = transformers.AutoModel.from_config(config, attn_implementation="eager").double()
    hf_encoder = HFEncoder(3, 50, pretrained=None, architecture=architecture).double()
    model.load_state_dict(hf_encoder.state_dict())
    torch.testing.assert_close(hf_encoder(tasks[0]), model(tasks[0]))


def test_an_encoder_reads_its_own_tokens_and_mask_like_the_tasks():
    model = hf_encoder().double()
    tokens = torch.tensor([[4, 9, 30, 0], [7, 7, 2, 11]])
    mask = (tokens > 0).long()
    named = model(input_ids=(tokens - 1) * mask, attention_mask=mask)
    torch.testing.assert_close(named, model(tokens), rtol=0, atol=0)


@pytest.mark.parametrize("mask", ["true", "false"])
def test_an_encoder_is_meta_trained_with_all_tasks_at_once(mask, make_run):
    pytest.importorskip("transformers")
    folder = make_run(
        f"task.mask={mask}",
        "task=clinc150",
        f"task.data_dir={shared('text_intents') / 'clinc150'}",
        "task.queries=1",
        "task.vocabulary_size=512",
        "model=hf_encoder",
        "model.architecture.num_hidden_layers=1",
        "model.architecture.hidden_size=8",
        "model.architecture.intermediate_size=8",
        "data.meta_batch_size=2",
        "data.validation_episodes=2",
        "training.max_steps=1",
        "training.validate_every=1",
        "algorithm.eval_inner_steps=1",
        "evaluation.episodes=2",
    )
    train(folder)  # a warning, that it runs task by task for one, would be an error
    assert (folder.evaluations / "test" / "results.json").exists()
