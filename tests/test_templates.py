"""Chat templates of every kind, written here with the behaviour of those in use: turns that end otherwise
than the text, thoughts that are left out of earlier turns, roles that are not taken. What was drawn is never
tokenised again, and learns where it was drawn.
"""

from __future__ import annotations

import json
import shutil
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from conftest import make_causal
from surpass import advantages, objectives, selectors
from surpass.cli import main
from surpass.engines import LocalEngine
from surpass.engines.text import Text
from surpass.errors import SurpassError
from surpass.flat import gather, lengths, pack, spread
from surpass.loop import improve
from surpass.methods.grpo import grpo
from surpass.methods.tree_grpo import tree_grpo
from surpass.models import Models
from surpass.rewards.likelihood import mean_logp
from surpass.searches.turns import begin, play_on
from surpass.store import Store
from surpass.types import DONE, Column, Example, Memory, Problem, Tree, Turn
from surpass.unrolled import unroll

SPECIAL = tuple(
    "<eos> <bos> <|im_start|> <|im_end|> <|user|> <|observation|> <|assistant|> <think> </think> "
    "<|channel|> <|message|> <|start|> <|end|> <|return|> <answer> <tool_call>".split()
)
CHARACTERS = "\n " + "".join(map(chr, range(33, 127)))

CHATML = """{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
# thoughts stand in the last answer alone, as in Qwen3's; without thinking the answer begins after an empty
# one
FORGETS = """{% set ns = namespace(last=-1) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}
{%- endfor %}{% for m in messages %}<|im_start|>{{ m.role }}
{% if m.role == 'assistant' and loop.index0 < ns.last %}{{ m.content.split('</think>')[-1].lstrip('\\n') }}{% else %}{{ m.content }}{% endif %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% if enable_thinking is defined and enable_thinking is false %}<think>

</think>

{% endif %}{% endif %}"""  # noqa: E501
# the answer begins in a thought, as in DeepSeek-R1's
THINKS = """{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}<|user|>{{ m.content }}{% elif m.role == 'assistant' %}<|assistant|>
{{- m.content.split('</think>')[-1] }}<eos>{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|><think>
{% endif %}"""  # noqa: E501
# a speaker's mark ends the turn before, as in GLM-4's
SPEAKERS = """{% for m in messages %}<|{{ 'observation' if m.role == 'tool' else m.role }}|>
{{ m.content }}{% endfor %}{% if add_generation_prompt %}<|assistant|>
{% endif %}"""
# no system message, turns take turns, contents are trimmed, as in Gemma's
STRICT = """{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{{ bos_token }}
{%- for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}
{{- '<|im_start|>' + ('model' if m.role == 'assistant' else m.role) + '\\n' + m.content | trim + '<|im_end|>\\n' }}{% endfor %}
{%- if add_generation_prompt %}<|im_start|>model
{% endif %}"""  # noqa: E501
# channels, as in gpt-oss's
CHANNELS = """{% for m in messages %}{% if m.role == 'assistant' %}{% if '<|channel|>' in m.content %}{{ raise_exception('no channels in content') }}{% endif %}
{{- '<|start|>assistant' }}{% if loop.last and m.thinking %}<|channel|>analysis<|message|>{{ m.thinking }}<|end|><|start|>assistant{% endif %}
{{- '<|channel|>final<|message|>' + m.content }}{{ '<|return|>' if loop.last else '<|end|>' }}{% else %}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{% endif %}
{%- endfor %}{% if add_generation_prompt %}<|start|>assistant{% endif %}"""  # noqa: E501


def make_tokenizer(template=None, marks=SPECIAL, **settings):
    """Marks and printable characters, one token each."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate([*marks, *CHARACTERS])}, unk_token="?")
    )
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    core.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        **{"eos_token": "<eos>", "bos_token": "<bos>"} | settings,
        additional_special_tokens=list(marks[2:]),
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = template
    return tokenizer


VOCABULARY = len(SPECIAL) + len(CHARACTERS)


def make_engine(template, seed=0, tokenizer=None, template_args=None, listed=(), **changes):
    """A random model; `listed` are ends of turns that its generation_config names beside the end of text."""
    causal = make_causal(seed, 0.1, vocab_size=VOCABULARY, max_position_embeddings=512, **changes)
    tokenizer = tokenizer or make_tokenizer(template)
    causal.generation_config.eos_token_id = [0, *tokenizer.convert_tokens_to_ids(list(listed))]
    return LocalEngine.of(causal, tokenizer, **({"template_args": template_args} if template_args else {}))


def drawn(engine, text):
    """Tokens as if a model had drawn them."""
    return engine.text.encode(text)


def shown(text, tokens):
    return text.tokenizer.decode([int(t) for t in tokens], skip_special_tokens=False)


def grown(engine, *turns, messages="q"):
    """(models, tree, node): a dialogue in which what the model said is given, and the task answers "r1",
    "r2", ...
    """
    models = Models(policy=engine)
    tree = Tree(Problem("p", "q"))
    node = models.open("policy", tree, messages)
    for i, said in enumerate(turns):
        if i:
            node = models.tell("policy", tree, node, f"r{i}")
        node = models.put("policy", tree, node, drawn(engine, said), "policy", stop=DONE)
    return models, tree, node


# -- ends


ENDINGS = {
    "im_end": (CHATML, "<|im_end|>", ()),
    "eos": (THINKS, "<eos>", ()),
    "channels": (CHANNELS, "<|return|>", ()),
    "speakers": (SPEAKERS, "<eos>", ("<|user|>", "<|observation|>")),
}


@pytest.mark.parametrize("kind", ENDINGS)
def test_a_turn_ends_where_the_template_or_the_model_ends_it(kind):
    """Before, a base model whose end of text is another than the template's end of turn ran to its limit with
    every answer.
    """
    template, end, listed = ENDINGS[kind]
    tokenizer = make_tokenizer(template)
    ids = dict(zip(SPECIAL, tokenizer.convert_tokens_to_ids(list(SPECIAL)), strict=True))
    causal = make_causal(0, 0.1, vocab_size=VOCABULARY)
    causal.generation_config.eos_token_id = [0, *(ids[word] for word in listed)]
    engine = LocalEngine.of(causal, tokenizer)
    assert engine.ends == {0, ids[end], *(ids[word] for word in listed)} and engine.text.end == ids[end]
    with torch.no_grad():  # a model that always says the same
        for name, p in causal.named_parameters():
            p.zero_() if "norm" not in name else p.fill_(1.0)
        causal.lm_head.weight[ids[end]] = 0.0
        causal.model.embed_tokens.weight.fill_(1.0)
        causal.lm_head.weight[ids[listed[-1] if listed else end]] = 5.0
    engine.fresh()
    models = Models(policy=engine)
    tree = Tree(Problem("p", "q"))
    root = models.open("policy", tree, "q")
    (node,) = models.run(models.generate("policy", tree, root, 1, temperature=0.0, max_tokens=9))
    assert tree.stop[node] == DONE and len(tree.own(node)) == 1


def test_plain_words_after_an_answer_end_nothing():
    """A template without marks: a line's end after an answer is no token that ends turns."""
    text = Text(
        make_tokenizer("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant: ")
    )
    assert text.ends == {0} and text.end == 0


def test_the_beginning_of_an_answer_is_no_end_of_one():
    """Some templates write it whether it is asked for or not."""
    for end, wanted in (("", "<eos>"), ("<|end|>", "<|end|>")):
        text = Text(
            make_tokenizer(
                "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}" + end + "{% endfor %}<|assistant|>"
            )
        )
        assert text.tokenizer.decode([text.end]) == wanted and text.ends == {0, text.end}


def test_a_speakers_mark_is_written_once():
    """<|user|> both ends the answer and begins the next message."""
    engine = make_engine(SPEAKERS, listed=("<|user|>", "<|observation|>"))
    models, tree, node = grown(engine, "ab<|user|>")
    told = models.tell("policy", tree, node, "r")
    assert (
        shown(engine.text, tree.path_tokens(told)) == "<|user|>\nq<|assistant|>\nab<|user|>\nr<|assistant|>\n"
    )
    models, tree, node = grown(engine, "ab")  # cut off: nothing was drawn that could be left out
    told = models.tell("policy", tree, node, "r")
    assert (
        shown(engine.text, tree.path_tokens(told)) == "<|user|>\nq<|assistant|>\nab<|user|>\nr<|assistant|>\n"
    )


@pytest.mark.parametrize("mark", ["<|user|>", "<eos>"])
def test_another_end_than_what_follows_opens_a_new_context(mark):
    """The model gave the word to the user, and a tool answers: no text of this template holds both marks."""
    engine = make_engine(SPEAKERS, listed=("<|user|>", "<|observation|>"))
    models, tree, node = grown(engine, f"ab{mark}")
    told = models.tell("policy", tree, node, {"role": "tool", "content": "r"})
    assert tree.parent[told] == -1 and tree.cause[told] == node
    assert (
        shown(engine.text, tree.path_tokens(told))
        == "<|user|>\nq<|assistant|>\nab<|observation|>\nr<|assistant|>\n"
    )


def test_an_answer_that_ended_its_text_gets_the_end_of_its_turn():
    engine = make_engine(CHATML)
    for ended in ("ab<|im_end|>", "ab", "ab<eos>"):
        models, tree, node = grown(engine, ended)
        told = models.tell("policy", tree, node, "r")
        whole = shown(engine.text, tree.path_tokens(told)).replace("<eos>", "")
        assert (
            whole == "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\nab<|im_end|>\n<|im_start|>user\n"
            "r<|im_end|>\n<|im_start|>assistant\n"
        )


# -- earlier turns that are written otherwise


def rendered(engine, *messages):
    tokenizer = engine.tokenizer
    return tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False)


def test_thoughts_that_a_template_forgets_open_a_new_context():
    engine = make_engine(FORGETS)
    first, second = "<think>\nhm\n</think>\n\nab<|im_end|>", "cd<|im_end|>"
    models, tree, _ = grown(engine, first, second)
    root, said, new, last = range(4)
    assert tree.parent.tolist() == [-1, root, -1, new] and tree.cause.tolist() == [-1, root, said, new]
    assert shown(engine.text, tree.own(said)) == first, "what was drawn stays as it was drawn"
    messages = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "ab"},
        {"role": "user", "content": "r1"},
    ]
    assert shown(engine.text, tree.path_tokens(new)) == rendered(engine, *messages)
    assert tree.author == ["task", "policy", "task", "policy"] and np.isnan(tree.drawn(new)[0]).all()
    assert tree.parts(last) == [said, last] and tree.dialogue(last) == [root, said, new, last]
    assert tree.leaves() == [last] and tree.history(last) == [root, said, new, last]
    told = models.tell("policy", tree, last, "r2")
    assert tree.parent[told] == last, "an answer without thoughts is written as it stands"
    assert shown(engine.text, tree.path_tokens(told)) == rendered(
        engine, *messages, {"role": "assistant", "content": "cd"}, {"role": "user", "content": "r2"}
    )


def test_a_tools_words_keep_the_thoughts():
    engine = make_engine(FORGETS)
    models, tree, node = grown(engine, "<think>\nhm\n</think>\n\nab<|im_end|>")
    told = models.tell("policy", tree, node, {"role": "tool", "content": "5"})
    assert tree.parent[told] == node
    again = models.put("policy", tree, told, drawn(engine, "cd<|im_end|>"), "policy", stop=DONE)
    asked = models.tell("policy", tree, again, "r")
    assert tree.parent[asked] == -1 and "hm" not in shown(engine.text, tree.own(asked)), (
        "the user's words do not"
    )
    assert tree.parts(asked) == [again, asked]


@pytest.mark.parametrize(
    "template, args, said",
    [
        (FORGETS, {"enable_thinking": False}, "ab<|im_end|>"),
        (THINKS, None, "hm\n</think>\n\nab<eos>"),
        (
            CHANNELS,
            None,
            "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>ab<|return|>",
        ),
    ],
)
def test_whatever_is_rewritten_is_rendered_anew(template, args, said):
    engine = make_engine(template, template_args=args)
    models, tree, node = grown(engine, said)
    told = models.tell("policy", tree, node, "r")
    whole = shown(engine.text, tree.path_tokens(told))
    assert tree.parent[told] == -1 and tree.cause[told] == node
    assert (
        "hm" not in whole
        and "ab" in whole
        and "r" in whole
        and whole.count("<think>") == (0 if template == CHANNELS else 1)
    )


def test_a_thought_that_was_cut_off_is_no_answer_to_forget():
    engine = make_engine(THINKS)
    models, tree, node = grown(engine, "hm")
    told = models.tell("policy", tree, node, "r")
    assert (
        shown(engine.text, tree.path_tokens(told))
        == "<bos><|user|>q<|assistant|><think>\nhm<eos><|user|>r<|assistant|><think>\n"
    )
    assert tree.parent[told] == node


def test_an_aside_stays_aside_in_a_new_context():
    engine = make_engine(FORGETS)
    models, tree, node = grown(engine, "<think>\nhm\n</think>\n\nab<|im_end|>")
    asked = models.tell("policy", tree, node, "Right?", aside=True)
    assert tree.parent[asked] == -1 and tree.aside[asked] and tree.leaves() == [node]
    inside = models.put("policy", tree, node, [], "policy", aside=True)
    told = models.tell("policy", tree, inside, "r")
    assert tree.aside[told], "what follows an aside is one"


def test_keys_of_new_contexts_follow_from_their_own_past():
    """Two branches of one tree, told in either order, draw the same."""
    keys = []
    for order in ((0, 1), (1, 0)):
        engine = make_engine(FORGETS)
        models, tree, node = grown(engine, "<think>\nhm\n</think>\n\nab<|im_end|>")
        branches = [
            models.put("policy", tree, int(tree.parent[node]), drawn(engine, f"<think>{c}</think>"), "policy")
            for c in "xy"
        ]
        found = {i: tree.keys[models.tell("policy", tree, branches[i], "r")] for i in order}
        keys.append([found[0], found[1]])
    assert keys[0] == keys[1] and keys[0][0] != keys[0][1]


# -- credit


def forest(engine, n=2):
    """A tree whose two first answers were each told something and went on `n` ways, in new contexts; with
    real log-probabilities.
    """
    models = Models(policy=engine)
    tree = Tree(Problem("p", "q"), 7)
    root = models.open("policy", tree, "q")
    for a in range(2):
        first = models.put(
            "policy", tree, root, drawn(engine, f"<think>h{a}</think>x{a}<|im_end|>"), "policy", stop=DONE
        )
        told = models.tell("policy", tree, first, "r")
        for b in range(n):
            models.put("policy", tree, told, drawn(engine, f"y{b}<|im_end|>"), "policy", stop=DONE)
    return models, tree


def by_hand(engine, tree, leaf):
    """[(node, its log-probabilities)] of what the policy wrote on the way to a leaf, each context through the
    model's own forward.
    """
    out = []
    for end in tree.parts(leaf):
        path = tree.path(end)
        tokens = torch.from_numpy(tree.path_tokens(end).astype(np.int64))[None]
        logp = (
            engine.causal(input_ids=tokens)
            .logits[0, :-1]
            .log_softmax(-1)
            .gather(-1, tokens[0, 1:, None])[:, 0]
        )
        at = 0
        for node in path:
            n = len(tree.own(node))
            if tree.author[node] == "policy":
                out.append((node, logp[at - 1 : at - 1 + n]))
            at += n
    return out


def test_each_drawn_token_learns_once_in_the_context_it_was_drawn_in():
    """A path is the whole dialogue: sums, lengths and credit of two contexts are those of one path, and
    nothing rendered anew is trained.
    """
    engine = make_engine(FORGETS)
    _, tree = forest(engine)
    leaves = tree.leaves()
    assert len(leaves) == 4 and all(len(tree.parts(leaf)) == 2 for leaf in leaves)
    batch = pack([Example(tree, (leaf,)) for leaf in leaves], ("policy",))
    wrote = [
        sum(len(tree.own(i)) for i in tree.dialogue(leaf) if tree.author[i] == "policy") for leaf in leaves
    ]
    assert lengths(batch).tolist() == wrote
    with torch.no_grad():
        logp = engine.forward(batch).logp.double()
        wanted = [float(sum(part.sum() for _, part in by_hand(engine, tree, leaf))) for leaf in leaves]
    assert torch.allclose(gather(logp, batch), torch.tensor(wanted, dtype=torch.float64), atol=1e-3)
    credit = spread(torch.tensor([1.0, 2.0, 4.0, 8.0]), batch)
    said = {"h0": 3.0, "h1": 12.0}
    text = [shown(engine.text, [t]) for t in batch.token.tolist()]
    for word, weight in said.items():
        at = next(i for i in range(len(text) - 1) if text[i] + text[i + 1] == word)
        assert credit[at] == weight, "what several attempts share learns from each of them"
    assert float(credit.sum()) == sum(w * n for w, n in zip((1, 2, 4, 8), wrote, strict=True))
    task = torch.tensor([not t for t in batch.trained.tolist()])
    assert (credit[task] == 0).all()
    rows = unroll(batch)
    assert int(rows.learns.sum()) == sum(wrote), "and so it is in unrolled rows"


@pytest.mark.parametrize(
    "objective",
    [objectives.sft(), objectives.sft(normaliser="path"), objectives.dpo()],
    ids=["token", "path", "pair"],
)
def test_the_gradient_is_that_of_the_contexts_as_they_were(objective):
    engine = make_engine(FORGETS)
    _, tree = forest(engine)
    leaves = tree.leaves()
    pair = isinstance(objective, objectives.dpo)
    examples = (
        [Example(tree, (leaves[0], leaves[3]))] if pair else [Example(tree, (leaf,)) for leaf in leaves]
    )
    found = {}
    for trees in (True, False):
        engine.why_not_trees = None if trees else "asked for"
        batch = pack(examples, ("policy",))
        batch.totals = {
            "examples": len(examples),
            "paths": float(sum(len(e.nodes) for e in examples)),
            "tokens": float(lengths(batch).sum()),
        }
        for name in objective.columns:
            batch.columns[name] = ("token", torch.zeros(len(batch.token), dtype=torch.float64))
        engine.causal.zero_grad()
        sums, _ = objective(engine.forward(batch), batch)
        sum(value / batch.totals[name] for name, value in sums.items()).backward()
        found[trees] = {name: p.grad.clone() for name, p in engine.causal.named_parameters()}
    engine.causal.zero_grad()
    totals = [sum(part.sum() for _, part in by_hand(engine, tree, leaf)) for leaf in leaves]
    wrote = [sum(len(part) for _, part in by_hand(engine, tree, leaf)) for leaf in leaves]
    if pair:
        loss = -torch.nn.functional.logsigmoid(objective.beta * (totals[0] - totals[3]))
    elif objective.normaliser == "path":
        loss = -sum(t / n for t, n in zip(totals, wrote, strict=True)) / 4
    else:
        loss = -sum(totals) / sum(wrote)
    loss.backward()
    for name, p in engine.causal.named_parameters():
        for trees in (True, False):
            assert torch.allclose(found[trees][name], p.grad, atol=2e-4, rtol=2e-3), (name, trees)


def test_since_learns_from_there_on():
    engine = make_engine(FORGETS)
    _, tree = forest(engine, 1)
    leaf = tree.leaves()[0]
    root, first, new, last = tree.dialogue(leaf)
    own = {i: len(tree.own(i)) for i in (first, last)}
    for since, wanted in (
        (-1, own[first] + own[last]),
        (root, own[first] + own[last]),
        (first, own[last]),
        (new, own[last]),
    ):
        batch = pack([Example(tree, (leaf,), (since,))], ("policy",))
        assert lengths(batch).tolist() == [wanted], since
        assert int(unroll(batch).learns.sum()) == wanted
    assert lengths(pack([Example(tree, (leaf,))], ("policy",), parts=False)).tolist() == [own[last]]


def test_selectors_advantages_and_scores_see_whole_dialogues():
    engine = make_engine(FORGETS)
    models, tree = forest(engine)
    tree.put("reward", Column("leaf", np.array([1.0, 1.0, 0.0, 1.0])))
    memory = Memory()
    assert len(selectors.correct()([tree], memory, 0)) == 3, (
        "the same last words after other thoughts are another attempt"
    )
    (columns,) = advantages.siblings()([tree], memory)
    value = columns["value"].values
    first = [i for i in range(len(tree)) if tree.parent[i] == 0]
    assert value[first].tolist() == [1.0, 0.5] and columns["advantage"].values[first].tolist() == [0.5, -0.5]
    tree = tree.with_columns(columns)
    ends = selectors.contexts()([tree], memory, 0)
    assert [example.nodes[0] for example in ends] == tree.leaves(), (
        "a dialogue is one example, not one per context"
    )
    (column,) = advantages.group(apart=True)([tree], memory)
    assert np.allclose(column["advantage"].values, advantages.standardised(np.array([1.0, 1.0, 0.0, 1.0])))
    leaf = tree.leaves()[0]
    parts = [part for _, part in by_hand(engine, tree, leaf)]
    for i in range(len(tree)):  # as if they had been drawn
        tree._logp[i] = (
            np.zeros(len(tree.own(i)), np.float32) if tree.author[i] == "policy" else tree._logp[i]
        )
    found = models.run(mean_logp(models, "policy", tree, leaf, "policy"))
    assert found == pytest.approx(float(torch.cat(parts).detach().mean()), abs=1e-4)


@dataclass(frozen=True)
class thoughtful:
    """Three turns; a random model's words before a "." count as its thoughts (the template forgets them).
    Right: a code of even sum.
    """

    players: tuple = ("policy",)
    branches = True

    def problems(self, split, seed):
        for letter in {"train": "abcdef", "gate": "gh", "test": "ij"}[split]:
            yield Problem(f"{split}-{letter}", letter, letter)

    async def start(self, models, problem):
        return Turn({"turns": 0}, dict.fromkeys(self.players, problem.prompt), self.players[0])

    async def step(self, models, state, text):
        turns = state["turns"] + 1
        if turns == 3 * len(self.players):
            return Turn({"turns": turns})
        player = self.players[turns % len(self.players)]
        return Turn({"turns": turns}, {player: f"go on {turns}"}, player)

    async def check(self, models, problem, text):
        return float(sum(map(ord, text)) % 2 == 0)

    def final_answer(self, text):
        return text[-1:]


DOTS = FORGETS.replace("m.content.split('</think>')[-1].lstrip('\\n')", "m.content.split('e')[-1]")
assert DOTS != FORGETS


def small(method=grpo, **more):
    import dataclasses

    found = method(
        problems=4, max_tokens=24, lr=1e-3, every=1, **{"n": 4 if method is grpo else (2, 2)} | more
    )
    return dataclasses.replace(
        found,
        exam=dataclasses.replace(found.exam, search=dataclasses.replace(found.exam.search, max_tokens=24)),
    )


@pytest.mark.parametrize("method", [grpo, tree_grpo])
def test_a_run_over_rewritten_dialogues_learns_what_it_drew_and_resumes(method, tmp_path):
    """Log-probabilities at the draw are those the learner computes, in every context; a run that goes on ends
    in the same bytes.
    """
    from small_methods import digest

    class Copying(Store):
        def timed(self, phase, round):
            if (phase, round) == ("learn", 2):  # what is left of a run that is killed here
                shutil.copytree(self.folder, tmp_path / "part")
            return super().timed(phase, round)

    def run(folder, kind=Store):
        store, models = kind(folder), Models(policy=make_engine(DOTS))
        try:
            result = models.run(improve(small(method), thoughtful(), models, rounds=2, store=store))
            return result, store.read_trees(1)[0]
        finally:
            store.close()

    result, trees = run(tmp_path / "whole", Copying)
    assert sum(len(tree.parts(leaf)) > 1 for tree in trees for leaf in tree.leaves()) > 3, (
        "the template forgot something"
    )
    learnt = [event for event in result.events if event["event"] == "learn"]
    assert all(event["draw_gap"] < 1e-3 for event in learnt) and any(
        event["grad_norm"] > 0 for event in learnt
    )
    assert digest(tmp_path / "part") != digest(tmp_path / "whole")
    run(tmp_path / "part")
    assert digest(tmp_path / "part") == digest(tmp_path / "whole")


def test_players_keep_their_side_in_new_contexts():
    engine = make_engine(DOTS)
    models, task = Models(policy=engine), thoughtful(("policy", "other"))

    async def go():
        tree, root, plays = await begin(models, task, Problem("p", "q"), 3)
        nodes = await models.generate(plays, tree, root, 4, max_tokens=24)
        return tree, [
            await play_on(models, task, tree, node, "policy", 32, {"max_tokens": 24}) for node in nodes
        ]

    tree, ends = models.run(go())
    new = [
        i
        for i in range(len(tree))
        if tree.parent[i] < 0 and tree.has("continues") and not np.isnan(tree.get("continues").values[i])
    ]
    assert new, "the template forgot something"
    player = tree.get("player").values
    for root in new:
        before = int(tree.get("continues").values[root])
        assert player[root] == player[tree.path(before)[0]], "the same player's context"
        assert player[tree.path(int(tree.cause[root]))[0]] != player[root], (
            "and in time it follows the other's move"
        )
    assert set(ends) == set(tree.leaves())


# -- arguments, dates, and what a template cannot take


def saved(folder, template, **settings):
    """A model in a folder, as its makers publish it."""
    engine = make_engine(template, tokenizer=make_tokenizer(template, **settings))
    engine.save(folder)
    return str(folder)


def test_template_arguments_are_given_to_the_template():
    for args, wanted in (
        (None, ""),
        ({"enable_thinking": True}, ""),
        ({"enable_thinking": False}, "<think>\n\n</think>\n\n"),
    ):
        engine = make_engine(FORGETS, template_args=args)
        assert shown(engine.text, engine.text.open("q")).endswith(f"<|im_start|>assistant\n{wanted}")
        assert engine.twin().text.open("q") == engine.text.open("q")


@pytest.mark.parametrize(
    "template, args, words",
    [
        (FORGETS, {"think": True}, 'takes no argument "think"; it takes: enable_thinking'),
        (CHATML, {"a": 1}, "it takes none"),
        (CHATML, {"messages": []}, 'no argument "messages"'),
        (None, {"a": 1}, "no chat template that could take the argument a"),
    ],
)
def test_an_argument_that_no_template_reads_is_refused(template, args, words):
    with pytest.raises(SurpassError, match=words):
        Text(make_tokenizer(template), arguments=args)


def test_template_args_on_the_command_line(tmp_path, capsys):
    """Recorded in the run and used when it goes on; refused where the template does not read them, or by a
    model behind an API.
    """
    model, out = saved(tmp_path / "model", FORGETS), tmp_path / "run"
    run = [
        "run",
        "grpo",
        "--model",
        model,
        "--rounds",
        "1",
        "--problems",
        "2",
        "--n",
        "2",
        "--max-tokens",
        "4",
        "--test",
        "2",
        "--gate",
        "2",
    ]
    assert main([*run, "--out", str(out), "--template-args", "enable_thinking=false"]) == 0
    assert json.loads((out / "run.json").read_text())["model"]["template_args"] == {"enable_thinking": False}
    (tree, *_), _ = (store := Store(out)).read_trees(1)
    store.close()
    text = Text(make_tokenizer(FORGETS))
    assert shown(text, tree.own(0)).endswith("<think>\n\n</think>\n\n"), "the run's openings have it"
    assert main(["resume", str(out)]) == 0
    capsys.readouterr()
    for words, said in (
        (["--template-args", "think=1"], 'no argument "think"'),
        (["--template-args", "x"], "wants NAME=VALUE"),
        (["--template-args=a=1", "--template-args", "a=2"], "each name once"),
    ):
        assert main([*run, *words]) == 2
        seen = capsys.readouterr()
        assert said in seen.err and len(seen.err.splitlines()) == 1, seen.err
    evaluate = ["eval", "best_of_n", "--limit", "1", "--n", "1", "--max-tokens", "2"]
    assert (
        main([*evaluate, "--model", "api:m", "--url", "http://127.0.0.1:9/v1", "--template-args", "a=1"]) == 2
    )
    assert "local models" in capsys.readouterr().err
    assert main([*evaluate, "--model", model, "--template-args", "enable_thinking=false"]) == 0


def test_a_run_from_python_is_refused_with_other_arguments(tmp_path):
    import surpass

    model = saved(tmp_path / "model", FORGETS)
    options = {
        "rounds": 1,
        "problems": 2,
        "n": 2,
        "max_tokens": 4,
        "test": 2,
        "gate": 2,
        "quiet": True,
        "out": tmp_path / "run",
    }
    surpass.improve("grpo", "arithmetic", model, template_args={"enable_thinking": False}, **options)
    for other in (None, {"enable_thinking": True}):
        with pytest.raises(SurpassError, match=r"another model\.template_args"):
            surpass.improve("grpo", "arithmetic", model, template_args=other, **options)
    surpass.improve("grpo", "arithmetic", model, template_args={"enable_thinking": False}, **options)
    with pytest.raises(SurpassError, match=r"LocalEngine\.of"):
        surpass.improve("grpo", "arithmetic", make_engine(FORGETS), template_args={"enable_thinking": True})


DATES = (
    "{% set d = strftime_now('%d %B %Y') %}{% set f = '%Y-%m-%d %%' %}{{ d }}|{{ strftime_now(f) }}|{{ "
    "strftime_now('%-d %b') }}|{{ date_string }}|" + CHATML
)


def test_every_date_is_the_runs_date():
    text = Text(make_tokenizer(DATES))
    assert shown(text, text.open("q")).startswith(
        "01 January 2026|2026-01-01 %|1 Jan|01 January 2026|<|im_start|>user"
    )
    inside = "{% macro day() %}{{ strftime_now('%Y') }}{% endmacro %}" + CHATML.replace(
        "{{ m.content }}", "{{ day() }} {{ m.content }}"
    )
    assert "2026 q" in shown(text, Text(make_tokenizer(inside)).open("q"))
    # blanks at the beginning stay as the template has them
    for start in ("\n  {% if true %}x{% endif %}", " {{ 'y' }}", "\n\n"):
        plain, dated = (
            Text(make_tokenizer(start + CHATML + tail)) for tail in ("", "{% set z = strftime_now('%d') %}")
        )
        assert plain.open("q") == dated.open("q")


def notes_of(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(one.message) for one in caught if "chat template" in str(one.message)]


def test_a_system_message_is_folded_where_the_template_takes_none():
    engine = make_engine(STRICT)
    text, messages = engine.text, [{"role": "system", "content": "S"}, {"role": "user", "content": "q"}]
    assert len(notes_of(lambda: [text.open(messages) for _ in range(3)])) == 1, "said once"
    assert shown(text, text.open(messages)) == "<bos><|im_start|>user\nS\n\nq<|im_end|>\n<|im_start|>model\n"
    models, tree, node = grown(engine, "ab<|im_end|>", messages=messages)
    told = models.tell("policy", tree, node, "r")
    assert tree.parent[told] == node and "S\n\nq" in shown(text, tree.path_tokens(told))
    silent = Text(
        make_tokenizer(
            "{% for m in messages if m.role != 'system' %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}"
        )
    )
    assert "S\n\nq" in shown(silent, silent.open(messages)), "nor where it leaves it out without a word"


def test_turns_take_turns_where_the_template_wants_it():
    engine = make_engine(STRICT)
    two = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    assert len(notes_of(lambda: [engine.text.open(two) for _ in range(2)])) == 1
    assert "user\na\n\nb<|im_end|>" in shown(engine.text, engine.text.open(two))
    models, tree, node = grown(engine, "ab<|im_end|>")
    told = models.tell("policy", tree, node, two)
    assert (
        tree.parent[told] == node
        and shown(engine.text, tree.own(told)) == "\n<|im_start|>user\na\n\nb<|im_end|>\n<|im_start|>model\n"
    )
    again = models.tell("policy", tree, told, "c")  # nothing was said in between: an empty turn
    assert shown(engine.text, tree.own(again)).endswith("user\nc<|im_end|>\n<|im_start|>model\n")
    told = models.tell("policy", tree, node, {"role": "tool", "content": "5"})
    assert shown(engine.text, tree.own(told)).startswith("\n<|im_start|>user\n5<|im_end|>"), (
        "a tool's words are the user's"
    )


def test_an_answer_that_the_template_trims_stays_as_it_was_drawn():
    for said in ("ab\n<|im_end|>", " ab<|im_end|>", "\n\nab \n", "ab", ""):
        engine = make_engine(STRICT)
        models, tree, node = grown(engine, said)
        told = models.tell("policy", tree, node, "r")
        ended = said if said.endswith("<|im_end|>") else said + "<|im_end|>"
        assert tree.parent[told] == node
        assert (
            shown(engine.text, tree.path_tokens(told))
            == f"<bos><|im_start|>user\nq<|im_end|>\n<|im_start|>model\n{ended}\n"
            "<|im_start|>user\nr<|im_end|>\n<|im_start|>model\n"
        )


def test_contents_are_parts_where_the_template_wants_them():
    """Such a template, of a model that also sees, goes over a text's characters and shows none of them."""
    template = CHATML.replace(
        "{{ m.content }}",
        "{% for part in m.content %}{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}",
    )
    engine, plain = make_engine(template), make_engine(CHATML)
    for messages in ("q", [{"role": "system", "content": "S"}, {"role": "user", "content": "q"}]):
        assert engine.text.open(messages) == plain.text.open(messages)
    models, tree, node = grown(engine, "ab<|im_end|>")
    told = models.tell("policy", tree, node, "r")
    assert tree.parent[told] == node and shown(engine.text, tree.own(told)).startswith(
        "\n<|im_start|>user\nr<|im_end|>"
    )


def test_a_system_message_that_moves_opens_a_new_context():
    """Some templates put it into the last user message, wherever that is, as Mistral's."""
    template = """{% set system = messages[0].content if messages[0].role == 'system' else '' %}{{ bos_token }}{% for m in messages if m.role != 'system' %}
{%- if m.role == 'user' %}<|user|>{% if loop.last and system %}{{ system }}\n\n{% endif %}{{ m.content }}<|assistant|>{% else %} {{ m.content }}<eos>{% endif %}{% endfor %}"""  # noqa: E501
    engine = make_engine(template)
    models, tree, node = grown(
        engine, "ab<eos>", messages=[{"role": "system", "content": "S"}, {"role": "user", "content": "q"}]
    )
    assert shown(engine.text, tree.path_tokens(node)) == "<bos><|user|>S\n\nq<|assistant|>ab<eos>"
    told = models.tell("policy", tree, node, "r")
    assert tree.parent[told] == -1
    assert (
        shown(engine.text, tree.path_tokens(told))
        == "<bos><|user|>q<|assistant|> ab<eos><|user|>S\n\nr<|assistant|>"
    )
    # without one nothing moves; and a blank before an answer is no other answer
    models, tree, node = grown(engine, "ab<eos>")
    told = models.tell("policy", tree, node, "r")
    assert (
        tree.parent[told] == node
        and shown(engine.text, tree.path_tokens(told))
        == "<bos><|user|>q<|assistant|>ab<eos><|user|>r<|assistant|>"
    )


def test_a_templates_own_system_prompt_is_no_rewriting():
    template = (
        "{% if messages[0].role != 'system' %}<|im_start|>system\nYou help.<|im_end|>\n{% endif %}" + CHATML
    )
    engine = make_engine(template)
    models, tree, node = grown(engine, "ab<|im_end|>")
    told = models.tell("policy", tree, node, "r")
    assert tree.parent[told] == node and shown(engine.text, tree.path_tokens(told)).count("You help.") == 1


def test_a_template_refuses_in_one_sentence():
    text = Text(make_tokenizer("{{ raise_exception('only on Sundays') }}"))
    with pytest.raises(SurpassError, match="refuses messages of the roles user: only on Sundays") as error:
        text.open("q")
    assert "\n" not in str(error.value)


def test_a_reserved_token_is_found_whatever_the_template_forgets():
    for template, args in (
        (FORGETS, {"enable_thinking": False}),
        (THINKS, None),
        (CHANNELS, None),
        (CHATML, None),
    ):
        text = make_engine(template, template_args=args).text
        turns = [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "ab"},
            {"role": "user", "content": "r"},
        ]
        assert text.reserved() in text.tokenizer.all_special_ids and text.reserved() not in {
            *text.open(turns),
            *text.ends,
        }


def test_several_templates_in_one_tokenizer(tmp_path):
    both = make_tokenizer({"default": CHATML, "tool_use": "{{ raise_exception('no tools') }}"})
    assert Text(both).open("q") == Text(make_tokenizer(CHATML)).open("q")
    assert Text(make_tokenizer({"only": CHATML})).open("q") == Text(both).open("q")
    with pytest.raises(SurpassError, match=r"several chat templates \(a, b\) and none is named default"):
        Text(make_tokenizer({"a": CHATML, "b": CHATML}))
    make_engine(CHATML, tokenizer=both).save(tmp_path / "model")
    assert LocalEngine(str(tmp_path / "model")).text.open("q") == Text(both).open("q")


def test_a_template_in_a_file_of_its_own(tmp_path):
    folder = tmp_path / "model"
    saved(folder, None)
    (folder / "chat_template.jinja").write_text(CHATML)
    engine = LocalEngine(str(folder))
    assert engine.text.open("q") == Text(make_tokenizer(CHATML)).open("q")
    engine.save(tmp_path / "again")
    assert LocalEngine(str(tmp_path / "again")).text.open("q") == engine.text.open("q")


# -- tokens


def test_what_the_tokenizer_puts_after_a_text_does_not_end_a_prompt():
    from tokenizers.processors import TemplateProcessing

    def wrapped(template, single):
        tokenizer = make_tokenizer(template)
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=single, special_tokens=[("<bos>", 1), ("<eos>", 0)]
        )
        return Text(tokenizer)

    text = wrapped(None, "<bos> $A <eos>")
    assert shown(text, text.open("ab")) == "<bos>ab" and shown(text, text.open("ab<eos>")) == "<bos>ab<eos>"
    assert shown(text, text.open("<bos>ab")) == "<bos>ab", "one beginning, whoever wrote it"
    assert shown(text, wrapped(None, "$A <eos>").open("ab")) == "ab" and shown(text, text.open("")) == "<bos>"
    assert shown(text, text.tell("c", None)) == "c"
    text = wrapped(THINKS, "<bos> $A <eos>")
    assert shown(text, text.open("q")) == "<bos><|user|>q<|assistant|><think>\n"


def test_marks_that_are_special_tokens_are_judged_text():
    """A task whose answers stand in marks lost them: its accuracy was 0, without a word."""
    text = Text(make_tokenizer(CHATML, pad_token="<|end|>"))
    said = "<think>hm</think><tool_call>f</tool_call><answer>4</answer><|channel|>final<|message|>x"
    tokens = text.encode(said)
    ended = [1, *tokens, text.end, 0, *text.encode("<|end|><|end|>")]
    assert text.decode(tokens) == said and text.decode(ended) == said
    models = Models(policy=make_engine(CHATML))
    tree = Tree(Problem("p", "q"))
    root = models.open("policy", tree, "q")
    node = models.put("policy", tree, root, ended[1:-2], "policy")
    assert models.text("policy", tree, node) == said


def test_a_thought_that_the_template_began_is_seen_in_the_text():
    for template, mark in ((THINKS, "<think>\n"), (CHATML, ""), (FORGETS, "")):
        engine = make_engine(template)
        assert engine.text.thinks_first(engine.text.open("q")) == mark
        models, tree, node = grown(engine, "hm</think>ab")
        assert models.text("policy", tree, node) == f"{mark}hm</think>ab"
        assert models.text("policy", tree, node, since=0) == "hm</think>ab"
    engine = make_engine(FORGETS, template_args={"enable_thinking": False})
    assert engine.text.thinks_first(engine.text.open("q")) == "", "an empty thought is over"


def test_a_token_without_an_embedding_is_refused_in_words():
    tokenizer = make_tokenizer(CHATML)
    tokenizer.add_tokens(["<new>"], special_tokens=True)
    with pytest.warns(UserWarning, match=r"'<new>' \(id 112\).*resize_token_embeddings"):
        engine = make_engine(CHATML, tokenizer=tokenizer)
    with pytest.raises(SurpassError, match=r"'<new>' \(id 112\).*holds 112 tokens.*resize_token_embeddings"):
        engine.text.open("a<new>b")
    with pytest.raises(SurpassError, match="resize_token_embeddings"):
        make_engine(None, tokenizer=tokenizer).text.open("<new>")
    tokenizer.chat_template = CHATML.replace("<|im_end|>", "<new>")
    with pytest.raises(SurpassError, match="resize_token_embeddings"):
        make_engine(None, tokenizer=tokenizer)
    padded = make_tokenizer(CHATML)
    padded.add_special_tokens({"pad_token": "[PAD]"})  # never in a text: such models are common, and work
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_engine(CHATML, tokenizer=padded)
