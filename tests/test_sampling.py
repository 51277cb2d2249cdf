"""Drawing: the distribution of one token, many continuations at once, and the cache of prefixes."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from surpass.engines import LocalEngine
from surpass.engines.decode import Decoder
from surpass.engines.prefix_cache import PrefixCache
from surpass.engines.requests import Context, Generate, Next, Sampling, Score, uniforms
from surpass.engines.row_attention import Groups
from surpass.engines.sampling import Settings, draw
from surpass.errors import EngineError, SurpassError
from surpass.types import DONE, LENGTH, OPEN, Problem, Tree

# -- one token

LOGITS = np.random.default_rng(5).normal(0, 1.5, 12)
SAMPLINGS = [
    Sampling(),
    Sampling(temperature=0.5),
    Sampling(temperature=2.0),
    Sampling(top_k=3),
    Sampling(temperature=1.5, top_k=20),
    Sampling(top_p=0.6),
    Sampling(temperature=0.7, top_p=0.95),
    Sampling(min_p=0.2),
    Sampling(temperature=1.3, top_k=8, top_p=0.9, min_p=0.05),
]


def truncated(logits: np.ndarray, sampling: Sampling) -> np.ndarray:
    """The distribution that is drawn from, one token after another and in the order temperature, top_k,
    top_p, min_p.
    """
    p = np.exp(logits / sampling.temperature)
    p /= p.sum()
    ranked = np.argsort(-p, kind="stable")
    if sampling.top_k:
        ranked = ranked[: sampling.top_k]
    kept, mass, total = [], 0.0, p[ranked].sum()
    for token in ranked:
        if mass < sampling.top_p and p[token] >= sampling.min_p * p[ranked[0]]:
            kept.append(token)
        mass += p[token] / total
    q = np.zeros(len(p))
    q[kept] = p[kept] / p[kept].sum()
    return q


def drawn_many(logits, sampling, n, seed=0):
    uniform = torch.from_numpy(np.random.default_rng(seed).random(n))
    rows = torch.from_numpy(logits).float().expand(n, -1)
    return draw(rows, Settings.of([sampling] * n, "cpu"), uniform)


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_frequencies_support_and_log_probs(sampling):
    q = truncated(LOGITS, sampling)
    token, logp, logq = (values.numpy() for values in drawn_many(LOGITS, sampling, 20_000))
    counts = np.bincount(token, minlength=len(q))
    assert set(np.flatnonzero(counts)) == set(np.flatnonzero(q))
    from scipy import stats  # slow to import

    assert stats.chisquare(counts[q > 0], 20_000 * q[q > 0]).pvalue > 1e-3
    np.testing.assert_allclose(logq, np.log(q[token]), atol=1e-5)
    np.testing.assert_allclose(logp, LOGITS[token] - np.log(np.exp(LOGITS).sum()), atol=1e-5)
    assert sum(np.exp(logq[token == t][0].astype(float)) for t in set(token)) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_a_token_is_drawn_where_the_uniform_number_says(sampling):
    """The smallest token whose cumulative probability exceeds u: the same u gives the same token in any
    batch.
    """
    q = truncated(LOGITS, sampling)
    uniform = (np.cumsum(q) - q / 2)[q > 0]
    rows = torch.from_numpy(LOGITS).float().expand(len(uniform), -1)
    token, *_ = draw(rows, Settings.of([sampling] * len(uniform), "cpu"), torch.from_numpy(uniform))
    assert token.tolist() == np.flatnonzero(q).tolist()


def test_rows_keep_their_own_settings():
    """One batch with every setting, greedy among them, equals one row at a time."""
    rng = np.random.default_rng(1)
    every = [*SAMPLINGS, Sampling(temperature=0)] * 5
    logits, uniform = (
        torch.from_numpy(rng.normal(0, 2, (len(every), 12))).float(),
        torch.from_numpy(rng.random(len(every))),
    )
    together = draw(logits, Settings.of(every, "cpu"), uniform)
    alone = [
        draw(logits[i : i + 1], Settings.of([s], "cpu"), uniform[i : i + 1]) for i, s in enumerate(every)
    ]
    for values, parts in zip(together, zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(values, torch.cat(parts), atol=1e-6, rtol=0)


def test_greedy_takes_the_best_and_was_certain():
    token, logp, logq = drawn_many(LOGITS, Sampling(temperature=0), 3)
    assert token.tolist() == [int(LOGITS.argmax())] * 3 and logq.tolist() == [0.0] * 3
    np.testing.assert_allclose(logp, LOGITS.max() - np.log(np.exp(LOGITS).sum()), atol=1e-5)


def test_equal_logits_are_cut_at_exactly_k():
    assert set(drawn_many(np.zeros(12), Sampling(top_k=3), 500)[0].tolist()) == {0, 1, 2}


def test_a_uniform_number_of_exactly_zero_takes_no_excluded_token():
    token, *_ = draw(
        torch.tensor([[0.0, 2.0, 1.0]]),
        Settings.of([Sampling(top_k=1)], "cpu"),
        torch.zeros(1, dtype=torch.float64),
    )
    assert token.tolist() == [1]


def test_top_p_takes_the_first_token_even_if_it_is_more():
    assert set(drawn_many(np.log([0.7, 0.2, 0.1]), Sampling(top_p=0.1), 200)[0].tolist()) == {0}
    assert set(drawn_many(np.log([0.7, 0.2, 0.1]), Sampling(top_p=0.75), 200)[0].tolist()) == {0, 1}


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1}, {"top_p": 0}, {"top_k": -1}, {"min_p": 1.0}, {"max_tokens": 0}]
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(SurpassError, match=f"found {next(iter(wrong))}="):
        Sampling(**wrong)


def test_random_numbers_are_the_keys_alone():
    assert uniforms(7, 5).tolist() == uniforms(7, 50)[:5].tolist() != uniforms(8, 5).tolist()


# -- many continuations


def words(seed, n):
    return np.random.default_rng(seed).integers(3, 64, n).astype(np.int32)


def served(engine, requests):
    """The replies in the order of the requests."""
    replies = {id(request): reply for request, reply in engine.serve(requests)}
    return [replies[id(request)] for request in requests]


def log_probs(causal, tokens, n_new) -> np.ndarray:
    """Of the last n_new tokens, from one ordinary forward pass of the whole row."""
    with torch.no_grad():
        logits = causal(input_ids=torch.from_numpy(tokens.astype(np.int64))[None], use_cache=False).logits[
            0, :-1
        ]
    own = logits.log_softmax(-1)[torch.arange(len(tokens) - 1), torch.from_numpy(tokens[1:].astype(np.int64))]
    return own[len(tokens) - 1 - n_new :].numpy()


def check(causal, request, reply):
    for d in reply:
        assert d.tokens.dtype == np.int32 and len(d.tokens) == len(d.logp) == len(d.logq) > 0
        whole = np.concatenate([request.tokens, d.tokens])
        np.testing.assert_allclose(d.logp, log_probs(causal, whole, len(d.tokens)), atol=1e-4)
        if request.sampling.temperature == 1:
            np.testing.assert_allclose(d.logq, d.logp, atol=1e-6)


def some_requests(max_tokens=12, stop=("e", "12"), prompts=8) -> list[Generate]:
    """Prompts of different lengths, some that share a beginning, one twice, several draws each; several
    settings.
    """
    shared = words(0, 9)
    tokens = [
        shared,
        np.concatenate([shared, words(1, 3)]),
        np.concatenate([shared[:5], words(2, 20)]),
        words(3, 1),
        words(4, 17),
        shared[:4],
        np.concatenate([shared, words(1, 3), words(5, 6)]),
        shared,
    ]
    kinds = [
        Sampling(max_tokens=max_tokens, stop=stop),
        Sampling(max_tokens=max_tokens + 5),
        Sampling(max_tokens=3),
    ]
    return [
        Generate(t, tuple(range(100 * i, 100 * i + 1 + i % 4)), kinds[i % 3])
        for i, t in enumerate(tokens[:prompts])
    ]


def test_drawn_log_probs_are_the_models_own(nano, plain):
    requests = some_requests()
    replies = served(nano(scale=0.1), requests)
    for request, reply in zip(requests, replies, strict=True):
        assert len(reply) == len(request.keys)
        check(plain(scale=0.1), request, reply)
    drawn = [d for reply in replies for d in reply]
    assert {d.stop for d in drawn} == {OPEN, LENGTH, DONE}  # rows left the batch early, and for each reason
    assert len({len(d.tokens) for d in drawn}) > 5


def test_how_a_draw_ends(nano):
    """DONE exactly at an end token, OPEN exactly when the token just drawn completes a stop string (perhaps
    in its middle, as <user> completes "e"), LENGTH at max_tokens.
    """
    engine = nano(scale=0.1)
    requests = [
        Generate(
            words(i, 4),
            tuple(range(10 * i, 10 * i + 6)),
            Sampling(max_tokens=14, stop=("e", "1", "ab"), stop_tokens=(63,)),
        )
        for i in range(6)
    ]
    seen = set()
    for reply in served(engine, requests):
        for d in reply:

            def over(n, tokens=d.tokens):
                text = engine.tokenizer.decode(tokens[:n])
                return tokens[n - 1] == 63 or any(string in text for string in ("e", "1", "ab"))

            n = len(d.tokens)
            assert not any(over(i) or d.tokens[i - 1] == 0 for i in range(1, n))
            wanted = DONE if d.tokens[-1] == 0 else OPEN if over(n) else LENGTH
            assert d.stop == wanted and (wanted != LENGTH or n == 14)
            seen.add(wanted)
    assert seen == {DONE, OPEN, LENGTH}


def test_continuing_a_node_uses_what_was_computed(nano, plain):
    engine, causal = nano(scale=0.05), plain(scale=0.05)
    first = Generate(words(0, 10), (1, 2, 3), Sampling(max_tokens=30, stop=("e", "a", "1", "7")))
    (reply,) = served(engine, [first])
    open_ones = [d for d in reply if d.stop == OPEN and len(d.tokens) > 1]
    assert open_ones
    before = engine.counters()["prefilled"]
    more = [
        Generate(np.concatenate([first.tokens, d.tokens]), (7, 8), Sampling(max_tokens=5)) for d in open_ones
    ]
    for request, again in zip(more, served(engine, more), strict=True):
        check(causal, request, again)
    # the last drawn token of each; all else was there
    assert engine.counters()["prefilled"] - before == len(more)
    engine.fresh()
    before = engine.counters()["prefilled"]
    fresh = served(engine, more[:1])
    assert engine.counters()["prefilled"] - before == len(more[0].tokens)
    assert fresh[0][0].tokens.tolist() == served(engine, more[:1])[0][0].tokens.tolist()


def test_a_key_draws_the_same_whatever_else_is_in_the_batch(nano):
    requests = some_requests()
    together = served(nano(scale=0.1), requests)
    backwards = served(nano(scale=0.1), requests[::-1])[::-1]
    for request, here, there in zip(requests, together, backwards, strict=True):
        alone = (
            served(nano(scale=0.1), [Generate(request.tokens, (key,), request.sampling)])[0]
            if (key := request.keys[-1])
            else here
        )
        assert [d.tokens.tolist() for d in here] == [d.tokens.tolist() for d in there]
        assert alone[-1].tokens.tolist() == here[-1].tokens.tolist()
        np.testing.assert_allclose(alone[-1].logp, here[-1].logp, atol=1e-4)


@pytest.mark.parametrize("memory_tokens", [1, 20, 60])
def test_a_cache_smaller_than_the_batch_changes_nothing(nano, memory_tokens):
    requests = some_requests()
    wanted, engine = served(nano(scale=0.1), requests), nano(scale=0.1, memory_tokens=memory_tokens)
    for _ in range(2):
        for a, b in zip(wanted, served(engine, requests), strict=True):
            assert [(d.tokens.tolist(), d.stop) for d in a] == [(d.tokens.tolist(), d.stop) for d in b]
            np.testing.assert_allclose(
                np.concatenate([d.logp for d in a]), np.concatenate([d.logp for d in b]), atol=1e-4
            )
        assert engine.decoder.cache.size <= memory_tokens


@pytest.mark.parametrize("most, least", [(4, 1024), (8192, 1)])
def test_prompts_are_prefilled_in_pieces_with_little_padding(nano, monkeypatch, most, least):
    requests = some_requests()
    wanted = served(nano(scale=0.1), requests)
    monkeypatch.setattr("surpass.engines.decode.PREFILL_TOKENS", most)
    monkeypatch.setattr("surpass.engines.decode.PREFILL_LEAST", least)
    batches, run = [], Decoder._prefill_batch

    def counting(self, prompts, found, *rest):
        new = [len(prompt) - n for prompt, (n, _) in zip(prompts, found, strict=True)]
        batches.append((max(new) * len(new), sum(new), len(new)))
        return run(self, prompts, found, *rest)

    monkeypatch.setattr(Decoder, "_prefill_batch", counting)
    for a, b in zip(wanted, served(nano(scale=0.1), requests), strict=True):
        assert [d.tokens.tolist() for d in a] == [d.tokens.tolist() for d in b]
    assert len(batches) > 1
    assert all(rows == 1 or padded <= (most if least > 1 else 1.2 * used) for padded, used, rows in batches)


def test_a_row_that_knows_nearly_all_stands_beside_one_that_knows_nothing(nano):
    long, short = (Generate(words(*at), (7,), Sampling(max_tokens=5)) for at in ((0, 50), (60, 20)))
    alone = [served(nano(scale=0.1), [request])[0][0].tokens.tolist() for request in (long, short)]
    engine = nano(scale=0.1)
    served(engine, [long])
    assert [draws[0].tokens.tolist() for draws in served(engine, [long, short])] == alone
    assert engine.decoder.prefilled == 50 + 20 + 1  # the last token is computed again, for its logits


def test_a_tree_is_scored_in_one_pass_if_it_fits(nano, monkeypatch):
    tree = Tree(Problem("p", ""))
    root = tree.add(-1, "task", words(0, 30))
    leaves = [tree.add(tree.add(root, "policy", words(i, 4)), "policy", words(50 + i, 3)) for i in range(6)]
    engine = nano()
    served(engine, [Score(Context.of(tree, leaf)) for leaf in leaves])
    assert engine.scored == 30 + 6 * 7
    monkeypatch.setattr("surpass.engines.scoring.SCORE_TOKENS", 30 + 3 * 7)
    engine = nano()
    served(engine, [Score(Context.of(tree, leaf)) for leaf in leaves])
    assert engine.scored == 2 * (30 + 3 * 7), "two passes, each with the root"


def test_the_slow_path_draws_the_same(nano):
    requests = some_requests(prompts=6)
    fast, slow = nano(scale=0.1), nano(scale=0.1)
    slow.causal.set_attn_implementation("sdpa")
    slow.decoder.cached = False
    for a, b in zip(served(fast, requests), served(slow, requests), strict=True):
        assert [(d.tokens.tolist(), d.stop) for d in a] == [(d.tokens.tolist(), d.stop) for d in b]
        np.testing.assert_allclose(
            np.concatenate([d.logq for d in a]), np.concatenate([d.logq for d in b]), atol=1e-4
        )


def test_greedy_equals_one_argmax_after_another(nano, plain):
    causal, prompt = plain(scale=0.1), words(1, 7)
    tokens = prompt.tolist()
    while len(tokens) < 7 + 10 and tokens[-1] != 0:
        with torch.no_grad():
            tokens.append(int(causal(input_ids=torch.tensor([tokens])).logits[0, -1].argmax()))
    requests = [
        Generate(prompt, (1, 2), Sampling(temperature=0, max_tokens=10)),
        Generate(words(2, 3), (3,), Sampling(max_tokens=20)),
    ]
    reply = served(nano(scale=0.1), requests)[0]
    assert [d.tokens.tolist() for d in reply] == [tokens[7:]] * 2 and len(tokens) > 9


def test_the_context_is_a_limit(nano, plain):
    """60 of 64 tokens leave room for 4; a full context draws nothing; a longer prompt is refused, and only
    it.
    """
    engine = nano(scale=0.01, max_position_embeddings=64)
    sizes = (60, 64, 65, 5)
    requests = [
        Generate(words(i, n), tuple(range(8)), Sampling(max_tokens=100, stop_tokens=()))
        for i, n in enumerate(sizes)
    ]
    near, full, over, short = served(engine, requests)
    assert {len(d.tokens) for d in near if d.stop == LENGTH} == {4} and max(len(d.tokens) for d in near) == 4
    assert [(d.stop, len(d.tokens)) for d in full] == [(LENGTH, 0)] * 8
    assert isinstance(over, EngineError) and "65 tokens" in str(over)
    assert {len(d.tokens) for d in short if d.stop == LENGTH} <= {59} and max(
        len(d.tokens) for d in short
    ) > 4
    check(plain(scale=0.01, max_position_embeddings=64), requests[0], near)


def test_new_weights_forget_the_old_prefixes(nano, plain):
    engine = nano(scale=0.1)
    request = Generate(words(0, 12), (1, 2), Sampling(max_tokens=6))
    served(engine, [request])
    with engine.using(nano(seed=1, scale=0.1).weights()):
        check(plain(seed=1, scale=0.1), request, served(engine, [request])[0])
    check(plain(scale=0.1), request, served(engine, [request])[0])


def test_score_and_next_are_the_models_own(nano, plain):
    engine, causal = nano(scale=0.1), plain(scale=0.1)
    tree = Tree(Problem("p", ""))
    root = tree.add(-1, "task", words(0, 8))
    nodes = [tree.add(root, "policy", words(i, 2 + i)) for i in range(1, 4)]
    nodes.append(tree.add(nodes[0], "task", words(9, 3)))
    one = Tree(Problem("one token", ""))
    requests = [
        *(Score(Context.of(tree, node)) for node in nodes),
        *(Next(Context.of(tree, node), (5, 3, 0)) for node in nodes),
        Score(Context.of(one, one.add(-1, "task", [9]))),
    ]
    *scores, single = served(engine, requests)
    scores, after = scores[: len(nodes)], scores[len(nodes) :]
    for node, score in zip(nodes, scores, strict=True):
        path = tree.path_tokens(node)
        assert np.isnan(score[0]) and len(score) == len(path)
        np.testing.assert_allclose(score[1:], log_probs(causal, path, len(path) - 1), atol=1e-4)
    for node, found in zip(nodes, after, strict=True):
        for token, logp in zip((5, 3, 0), found, strict=True):
            np.testing.assert_allclose(
                logp, log_probs(causal, np.append(tree.path_tokens(node), token), 1)[0], atol=1e-4
            )
    # every token once, however many paths it is on
    assert engine.counters()["scored"] == 2 * len(tree.tokens) + 1
    assert len(single) == 1 and np.isnan(single[0])


def test_one_token_is_scored_by_the_slow_path_too(nano):
    engine = nano()
    engine.why_not_trees = "the test says so"
    tree = Tree(Problem("p", ""))
    (reply,) = served(engine, [Score(Context.of(tree, tree.add(-1, "task", [9])))])
    assert len(reply) == 1 and np.isnan(reply[0])


def test_the_next_token_is_the_same_by_the_slow_path(nano):
    engine, tree = nano(scale=0.1), Tree(Problem("p", ""))
    root = tree.add(-1, "task", words(0, 8))
    requests = [
        Next(Context.of(tree, tree.add(root, "policy", words(i, 1 + 3 * i))), (5, i)) for i in range(4)
    ]
    fast = served(engine, requests)
    engine.why_not_trees = "the test says so"
    np.testing.assert_allclose(fast, served(engine, requests), atol=1e-5)


def test_groups_are_each_rows_own_attention():
    """Scores and mixtures by group against every row with its own copy, while rows end, and groups with
    them.
    """
    generator = torch.Generator().manual_seed(0)
    kv, lens = torch.randn(2, 2, 5, 3, 7, 4, generator=generator), torch.tensor([7, 1, 4, 2, 6])
    at = torch.tensor([0, 2, 2, 4, 0, 1, 3, 3, 3, 0])
    rows, groups = torch.arange(10), Groups(kv, lens, at)
    for kept in ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [9, 1, 2, 3, 0, 8], [3, 0], [1]):
        rows, groups = rows[kept], Groups(groups.kv, groups.lens, groups.at[kept])
        where = at[rows]
        for layer in (0, 1):
            q = torch.randn(len(rows), 3, 2, 4, generator=generator)
            scores = q @ kv[layer, 0][where].transpose(-1, -2)
            scores = scores.masked_fill(torch.arange(7) >= lens[where][:, None, None, None], -torch.inf)
            torch.testing.assert_close(groups.scores(layer, q), scores)
            p = scores.softmax(-1)
            torch.testing.assert_close(groups.mix(layer, p), p @ kv[layer, 1][where])
    assert len(groups.lens) == 1, "groups without rows are forgotten"


def test_mixed_arithmetic_keeps_weights_and_draws(nano):
    """float32 weights, the same draws as float32, and gradients that point the same way."""
    from surpass.flat import pack
    from surpass.types import Example

    plain_, mixed = nano(scale=0.2), nano(scale=0.2)
    mixed.mixed = True
    tree = Tree(Problem("p", ""))
    root = tree.add(-1, "task", [1, 5, 9])
    leaves = [tree.add(root, "policy", np.random.default_rng(i).integers(3, 60, 9)) for i in range(4)]
    gradients = []
    for engine in (plain_, mixed):
        batch = pack([Example(tree, (leaf,)) for leaf in leaves], ["policy"])
        logp = engine.forward(batch).logp
        assert logp.dtype == torch.float32
        logp.sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in engine.trainable().values()]))
        assert all(p.dtype == torch.float32 for p in engine.trainable().values())
    assert not torch.equal(*gradients)
    assert torch.cosine_similarity(*gradients, dim=0) > 0.999
    request = Generate(np.array([1, 5, 9], np.int32), (7,), Sampling(max_tokens=8))
    drawn = [next(iter(engine.serve([request])))[1][0].tokens.tolist() for engine in (plain_, mixed)]
    assert drawn[0] == drawn[1]


def test_a_stop_string_may_end_inside_a_character_of_several_tokens():
    """A tokenizer of bytes: the last byte of "é" alone is no text, and yet it completes the string."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from surpass.engines.text import Text

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    core.pre_tokenizer, core.decoder = (
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        decoders.ByteLevel(),
    )
    text = Text(PreTrainedTokenizerFast(tokenizer_object=core))
    tokens = text.encode("né")
    assert len(tokens) == 3 and text.stopped(tokens, ("é",), ()) and not text.stopped(tokens[:2], ("é",), ())
    assert text.may_stop(("é",), 256)[tokens[-1]]


def test_a_sliding_window_longer_than_the_probe_is_noticed(tokenizer):
    """Our attention sees everything before a token; a model that sees only the last 200 tokens must not be
    trusted with it.
    """
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    causal = MistralForCausalLM(
        MistralConfig(
            vocab_size=64,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=1024,
            sliding_window=200,
            initializer_range=0.3,
            eos_token_id=0,
            bos_token_id=None,
        )
    ).eval()
    engine, tree = LocalEngine.of(copy.deepcopy(causal), tokenizer), Tree(Problem("p", ""))
    path = words(0, 300)
    (score,) = served(engine, [Score(Context.of(tree, tree.add(-1, "task", path)))])
    np.testing.assert_allclose(score[1:], log_probs(causal, path, 299), atol=1e-3)


def test_learned_positions_are_not_exceeded_by_padding(tokenizer):
    """GPT-2 has a table of positions: rows that are padded beyond its end must not be looked up there."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    causal = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=64,
            n_embd=32,
            n_layer=2,
            n_head=4,
            n_positions=256,
            initializer_range=0.3,
            eos_token_id=0,
            bos_token_id=0,
        )
    ).eval()
    engine, long = LocalEngine.of(copy.deepcopy(causal), tokenizer), words(0, 200)
    assert engine.why_not_trees is None
    served(engine, [Generate(long, (1,), Sampling(max_tokens=2))])  # now the first 200 tokens are known
    requests = [
        Generate(np.concatenate([long, words(1, 30)]), (1,), Sampling(max_tokens=2)),
        Generate(words(2, 240), (2,), Sampling(max_tokens=2)),
    ]
    for request, reply in zip(requests, served(engine, requests), strict=True):
        check(causal, request, reply)


# -- the cache


def kv_of(tokens: np.ndarray, start: int = 0) -> torch.Tensor:
    """Stands for keys and values: a number per token that depends on all tokens before it."""
    values, value = [], 0
    for token in tokens.tolist():
        value = (value * 7 + token + 1) % 1_000_003
        values.append(float(value))
    return torch.tensor(values[start:], dtype=torch.float64).view(1, 1, 1, -1, 1).expand(2, 2, 1, -1, 1)


token_lists = st.lists(st.integers(0, 2), min_size=1, max_size=7).map(
    lambda tokens: np.array(tokens, np.int32)
)
steps = st.lists(st.tuples(st.booleans(), token_lists, st.integers(0, 4)), min_size=1, max_size=25)
quick = settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def stored(cache) -> int:
    """The tokens in the tree, counted one segment after another; each segment must know its parent."""
    size, stack = 0, [cache.root]
    while stack:
        segment = stack.pop()
        for first, child in segment.children.items():
            assert (
                child.parent is segment
                and first == int(child.tokens[0])
                and child.kv.shape[-2] == len(child.tokens)
            )
            size += len(child.tokens)
            stack.append(child)
    return size


@given(steps)
@quick
def test_the_cache_equals_a_set_of_prefixes(operations):
    cache, known = PrefixCache(10**6), {()}
    for adds, tokens, start in operations:
        start = min(start, len(tokens) - 1)
        prefixes = [tuple(tokens[:i].tolist()) for i in range(len(tokens) + 1)]
        if adds:
            cache.add(tokens, start, kv_of(tokens, start))
            if prefixes[start] in known:  # otherwise what comes before is missing, and nothing is kept
                known |= set(prefixes)
        n, parts = cache.find(tokens)
        assert n == max(i for i, prefix in enumerate(prefixes) if prefix in known)
        found = torch.cat(parts, -2) if parts else kv_of(tokens)[..., :0, :]
        assert torch.equal(found, kv_of(tokens)[..., :n, :])
        assert cache.size == stored(cache) == len(known) - 1


@given(steps, st.integers(1, 12))
@quick
def test_a_small_cache_forgets_but_never_errs(operations, room):
    cache, known = PrefixCache(room), {()}
    for adds, tokens, start in operations:
        prefixes = [tuple(tokens[:i].tolist()) for i in range(len(tokens) + 1)]
        if adds:
            n, _ = cache.find(tokens)
            start = min(start, n)
            cache.add(tokens, start, kv_of(tokens, start))
            known |= set(prefixes)
        n, parts = cache.find(tokens)
        assert n <= max(i for i, prefix in enumerate(prefixes) if prefix in known)
        found = torch.cat(parts, -2) if parts else kv_of(tokens)[..., :0, :]
        assert torch.equal(found, kv_of(tokens)[..., :n, :])
        assert cache.size == stored(cache) <= room


def test_what_was_used_last_is_forgotten_last():
    cache = PrefixCache(10)
    old, new = np.array([1, 2, 3, 4, 5], np.int32), np.array([6, 7, 8, 9, 10], np.int32)
    for last in (6, 7):
        cache.add(np.append(old, last).astype(np.int32), 0, kv_of(np.append(old, last)))
    # 12 tokens: two ends go, then the beginning they shared, but not what just came
    cache.add(new, 0, kv_of(new))
    assert cache.find(new)[0] == 5


def test_a_find_keeps_what_it_found():
    cache = PrefixCache(10)
    rows = [np.array([i, 1, 2], np.int32) for i in range(3)]
    for row in rows:
        cache.add(row, 0, kv_of(row))
    assert cache.find(rows[0])[0] == 3
    cache.add(np.array([9, 9], np.int32), 0, kv_of(np.array([9, 9])))
    assert [cache.find(row)[0] for row in rows] == [3, 0, 3]
