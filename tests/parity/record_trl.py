"""Record loss values of TRL's trainers on tiny Llama models, for equality tests of our own losses.

Record (needs trl; nothing is downloaded):
    HF_HUB_OFFLINE=1 python tests/parity/record_trl.py
Check the recorded numbers with an independent plain-torch computation (needs torch and transformers only):
    HF_HUB_OFFLINE=1 python tests/parity/record_trl.py --check

Every number stored as "loss", "grad_norm" or "grad_sample" comes from a TRL trainer's own `compute_loss`,
called in train mode, in fp32, on the CPU, with one process. `check` shares only `build_model` with the
recording side: it scores each sequence alone, without padding, in fp64.
"""

import argparse
import hashlib
import json
import os
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import numpy as np
import torch

OUT = Path(__file__).with_name("trl_1_16.json")
COMMAND = (
    "pip install torch==2.13.0 trl==1.16.0 transformers==5.23.0 peft==0.21.2 accelerate==1.15.0; "
    "HF_HUB_OFFLINE=1 python tests/parity/record_trl.py"
)
POLICY_SEED, REF_SEED = 11, 12
PAD, EOS = 0, 1
GRAD_PARAM = "model.layers.0.self_attn.q_proj.weight"
CONFIG = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "tie_word_embeddings": False,
    "attention_dropout": 0.0,
    "pad_token_id": PAD,
    "bos_token_id": None,
    "eos_token_id": EOS,
}
WEIGHTS = (
    "rng = numpy.random.default_rng(seed); for name, p in sorted(model.named_parameters()): z = "
    "rng.standard_normal(tuple(p.shape)); p = float32(0.2 * z), or float32(1 + 0.2 * z) if p.ndim == 1 "
    "(the norms)"
)


def build_model(seed):
    """A tiny Llama whose weights follow the formula in WEIGHTS."""
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM._from_config(
        LlamaConfig(**CONFIG), attn_implementation="eager", dtype=torch.float32
    )
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for _, param in sorted(model.named_parameters()):
            values = 0.2 * rng.standard_normal(tuple(param.shape)) + (1.0 if param.ndim == 1 else 0.0)
            param.copy_(torch.from_numpy(values.astype(np.float32)))
    return model


def weights_sha256(model):
    """sha256 over the little-endian fp32 bytes of the parameters in sorted-name order."""
    digest = hashlib.sha256()
    for _, param in sorted(model.named_parameters()):
        digest.update(param.detach().numpy().astype("<f4").tobytes())
    return digest.hexdigest()


# ----------------------------------------------------------------------------------------------------- fixed
# inputs
def tokens(rng, lengths):
    return [rng.integers(2, CONFIG["vocab_size"], n).tolist() for n in lengths]


RNG = np.random.default_rng(7)
# Two prompts of different length, three completions each, one entry per completion
_prompts = tokens(RNG, [4, 6])
GRPO_PROMPTS = [_prompts[i // 3] for i in range(6)]
GRPO_COMPLETIONS = tokens(RNG, [3, 8, 5, 6, 2, 7])
GRPO_ADVANTAGES = [1.1, -0.8, 0.25, 0.9, 0.6, -1.4]
# Sequence-level ratio of the policy to the old policy: clipped above, clipped below, free, inside (1.2,
# 1.28), free (low with a positive advantage), free (high with a negative advantage)
GRPO_SEQUENCE_RATIO = [1.4, 0.7, 1.02, 1.24, 0.75, 1.5]
# Log-ratio noise inside a sequence; its mean over the sequence is removed, so the sequence ratio is the one
# above
GRPO_TOKEN_NOISE = [RNG.normal(0, 0.25, len(c)) for c in GRPO_COMPLETIONS]
GRPO_MAX_COMPLETION_LENGTH = 12

DPO_PROMPTS = tokens(RNG, [3, 5, 2])
DPO_CHOSEN = tokens(RNG, [4, 2, 7])
DPO_REJECTED = tokens(RNG, [6, 3, 1])

SFT_PROMPTS = tokens(RNG, [3, 6, 1, 4])
SFT_COMPLETIONS = tokens(RNG, [5, 2, 7, 1])


# --------------------------------------------------------------------------------------------------------
# recording
def pad_left(rows, value):
    width = max(map(len, rows))
    return torch.tensor([[value] * (width - len(r)) + list(r) for r in rows])


def pad_right(rows, value):
    width = max(map(len, rows))
    return torch.tensor([list(r) + [value] * (width - len(r)) for r in rows])


def ragged(tensor, lengths):
    return [tensor[i, :n].tolist() for i, n in enumerate(lengths)]


def measure(model, loss):
    """Backpropagate and read the loss, the total gradient norm and a few gradient entries."""
    model.zero_grad(set_to_none=True)
    loss.backward()
    named = dict(model.named_parameters())
    square = sum(p.grad.double().square().sum() for p in named.values())
    return {
        "loss": loss.item(),
        "grad_norm": float(square.sqrt()),
        "grad_sample": named[GRAD_PARAM].grad.flatten()[:8].tolist(),
    }


class Recorder:
    def __init__(self, scratch):
        from datasets import Dataset, disable_caching, disable_progress_bars
        from tokenizers import Tokenizer
        from tokenizers.models import WordLevel
        from tokenizers.pre_tokenizers import WhitespaceSplit
        from transformers import PreTrainedTokenizerFast

        disable_caching()
        disable_progress_bars()
        words = Tokenizer(WordLevel({f"t{i}": i for i in range(CONFIG["vocab_size"])}, unk_token="t63"))
        words.pre_tokenizer = WhitespaceSplit()
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="t0", eos_token="t1")
        self.dataset_class = Dataset
        self.scratch = scratch
        self.ref_path = os.path.join(scratch, "ref")  # GRPOTrainer loads its reference model from a path
        build_model(REF_SEED).save_pretrained(self.ref_path)
        self.common = {
            "output_dir": os.path.join(scratch, "out"),
            "report_to": "none",
            "use_cpu": True,
            "bf16": False,
            "gradient_checkpointing": False,
            "logging_steps": 10**9,
            "save_strategy": "no",
            "disable_tqdm": True,
        }

    # GRPO
    # ------------------------------------------------------------------------------------------------------
    def grpo_trainer(self, config):
        from trl import GRPOConfig, GRPOTrainer

        model = build_model(POLICY_SEED)
        model.config._name_or_path = self.ref_path
        trainer = GRPOTrainer(
            model=model,
            reward_funcs=lambda completions, **_: [0.0] * len(completions),
            args=GRPOConfig(
                **self.common,
                per_device_train_batch_size=6,
                num_generations=3,
                max_completion_length=GRPO_MAX_COMPLETION_LENGTH,
                temperature=1.0,
                **config,
            ),
            train_dataset=self.dataset_class.from_dict({"prompt": ["t2 t3"] * 8}),
            processing_class=self.tokenizer,
        )
        trainer.model.train()
        return trainer

    def grpo_logps(self):
        """TRL's own per-token log-probabilities of policy and reference, and old ones made from them."""
        trainer = self.grpo_trainer({"beta": 0.04})
        prompt, completion = pad_left(GRPO_PROMPTS, PAD), pad_right(GRPO_COMPLETIONS, PAD)
        ids = torch.cat([prompt, completion], 1)
        mask = torch.cat(
            [
                pad_left([[1] * len(p) for p in GRPO_PROMPTS], 0),
                pad_right([[1] * len(c) for c in GRPO_COMPLETIONS], 0),
            ],
            1,
        )
        lengths = [len(c) for c in GRPO_COMPLETIONS]
        with torch.no_grad():
            policy, ref = (
                ragged(
                    trainer._get_per_token_logps_and_entropies(m, ids, mask, completion.size(1))[0], lengths
                )
                for m in (trainer.model, trainer.ref_model)
            )
        old = []
        for logps, noise, ratio in zip(policy, GRPO_TOKEN_NOISE, GRPO_SEQUENCE_RATIO, strict=True):
            shift = np.log(ratio) + noise - noise.mean()
            old.append([float(np.float32(x)) for x in np.asarray(logps) - shift])
        # No token or sequence may sit on a clip bound, where rounding would decide the gradient
        ratios = [np.exp(np.subtract(a, b)) for a, b in zip(policy, old, strict=True)]
        ratios += [np.exp(np.mean(np.subtract(a, b))) for a, b in zip(policy, old, strict=True)]
        for bound in (0.8, 1.2, 1.28):
            gap = min(float(np.min(np.abs(r - bound))) for r in ratios)
            assert gap > 1e-3, (bound, gap)
        return policy, old, ref

    def grpo(self):
        _policy, old, ref = self.grpo_logps()
        total = sum(map(len, GRPO_COMPLETIONS))
        plans = []
        for loss_type in ("grpo", "bnpo", "dr_grpo", "dapo"):
            for level in ("token", "sequence"):
                for eps_high in (0.2, 0.28):
                    for beta, corrected in ((0.0, True), (0.04, True), (0.04, False)):
                        plans.append((loss_type, level, eps_high, beta, corrected, True, 1, 1, total))
            # No old log-probs: TRL uses the detached policy, so all ratios are 1
            plans.append((loss_type, "token", 0.2, 0.04, True, False, 1, 1, total))
            # Gradient accumulation over 2 micro-batches, generation batch of 4 micro-batches holding 150
            # tokens
            plans.append((loss_type, "token", 0.2, 0.04, True, True, 2, 4, 150))
        for (
            loss_type,
            level,
            eps_high,
            beta,
            corrected,
            off_policy,
            accumulation,
            per_generation,
            items,
        ) in plans:
            trainer = self.grpo_trainer(
                {
                    "loss_type": loss_type,
                    "importance_sampling_level": level,
                    "epsilon": 0.2,
                    "epsilon_high": eps_high,
                    "beta": beta,
                    "use_bias_correction_kl": corrected,
                    "gradient_accumulation_steps": accumulation,
                    "steps_per_generation": per_generation,
                }
            )
            trainer.current_gradient_accumulation_steps = accumulation  # the training loop sets this
            inputs = {
                "prompt_ids": pad_left(GRPO_PROMPTS, PAD),
                "prompt_mask": pad_left([[1] * len(p) for p in GRPO_PROMPTS], 0),
                "completion_ids": pad_right(GRPO_COMPLETIONS, PAD),
                "completion_mask": pad_right([[1] * len(c) for c in GRPO_COMPLETIONS], 0),
                "advantages": torch.tensor(GRPO_ADVANTAGES),
                "num_items_in_batch": torch.tensor(items),
            }
            if off_policy:
                inputs["old_per_token_logps"] = pad_right(old, 0.0)
            if beta:
                inputs["ref_per_token_logps"] = pad_right(ref, 0.0)
            result = measure(trainer.model, trainer.compute_loss(trainer.model, inputs))
            batch, lengths = len(GRPO_COMPLETIONS), [len(c) for c in GRPO_COMPLETIONS]
            normaliser = {
                "grpo": {
                    "rule": "mean over sequences of (sum over tokens / completion length), / "
                    "gradient_accumulation_steps",
                    "completion_lengths": lengths,
                    "batch_size": batch,
                },
                "bnpo": {
                    "rule": "sum over tokens / completion tokens of this micro-batch, / "
                    "gradient_accumulation_steps",
                    "denominator": total * accumulation,
                },
                "dr_grpo": {
                    "rule": "sum over tokens / (batch_size * max_completion_length), / "
                    "gradient_accumulation_steps",
                    "denominator": batch * GRPO_MAX_COMPLETION_LENGTH * accumulation,
                },
                "dapo": {
                    "rule": "sum over tokens / (num_items_in_batch / num_processes * "
                    "gradient_accumulation_steps / steps_per_generation)",
                    "denominator": items * accumulation / per_generation,
                },
            }[loss_type]
            name = f"grpo-{loss_type}-{level}-high{eps_high}-beta{beta}"
            name += "" if not beta else "-klratio" if corrected else "-klplain"
            name += ("" if off_policy else "-onpolicy") + (
                f"-accum{accumulation}" if accumulation > 1 else ""
            )
            yield {
                "name": name,
                "objective": "grpo",
                "settings": {
                    "loss_type": loss_type,
                    "importance_sampling_level": level,
                    "epsilon": 0.2,
                    "epsilon_high": eps_high,
                    "beta": beta,
                    "use_bias_correction_kl": corrected,
                    "max_completion_length": GRPO_MAX_COMPLETION_LENGTH,
                    "num_items_in_batch": items,
                    "gradient_accumulation_steps": accumulation,
                    "steps_per_generation": per_generation,
                    "num_processes": 1,
                    "temperature": 1.0,
                },
                "normaliser": normaliser,
                "inputs": {
                    "prompt_ids": GRPO_PROMPTS,
                    "completion_ids": GRPO_COMPLETIONS,
                    "advantages": GRPO_ADVANTAGES,
                    "old_logps": old if off_policy else None,
                    "ref_logps": ref if beta else None,
                },
                **result,
            }

    # DPO
    # -------------------------------------------------------------------------------------------------------
    def dpo(self):
        from trl import DPOConfig, DPOTrainer

        pairs = [
            {"prompt_ids": p, "chosen_ids": c, "rejected_ids": r}
            for p, c, r in zip(DPO_PROMPTS, DPO_CHOSEN, DPO_REJECTED, strict=True)
        ]
        sum_rule = {
            "rule": "mean over pairs; log-ratios are summed over completion tokens",
            "pairs": len(pairs),
        }
        notes = {
            "sigmoid": sum_rule,
            "robust": sum_rule | {"divided_by": "1 - 2 * label_smoothing"},
            "ipo": {
                "rule": "mean over pairs; each completion's summed log-ratio is divided by its own completion "  # noqa: E501
                "length before the difference is taken",
                "pairs": len(pairs),
                "chosen_lengths": [len(c) for c in DPO_CHOSEN],
                "rejected_lengths": [len(r) for r in DPO_REJECTED],
            },
            "aot": sum_rule,
        }
        plans = [
            ("dpo-sigmoid-beta0.1", "sigmoid", 0.1, 0.0),
            ("dpo-sigmoid-beta0.5", "sigmoid", 0.5, 0.0),
            ("dpo-sigmoid-beta0.1-smooth0.2", "sigmoid", 0.1, 0.2),
            ("dpo-robust-beta0.1-smooth0.2", "robust", 0.1, 0.2),
            ("dpo-cdpo-beta0.1-smooth0.2", "aot", 0.1, 0.2),
            ("dpo-ipo-beta0.1", "ipo", 0.1, 0.0),
            ("dpo-ipo-beta0.5", "ipo", 0.5, 0.0),
        ]
        for name, loss_type, beta, smoothing in plans:
            trainer = DPOTrainer(
                model=build_model(POLICY_SEED),
                ref_model=build_model(REF_SEED),
                args=DPOConfig(
                    **self.common,
                    loss_type=[loss_type],
                    beta=beta,
                    label_smoothing=smoothing,
                    max_length=None,
                ),
                train_dataset=self.dataset_class.from_dict(
                    {"prompt": ["t2 "], "chosen": ["t3 t1"], "rejected": ["t4 t1"]}
                ),
                processing_class=self.tokenizer,
            )
            trainer.model.train()
            batch = trainer.data_collator(pairs)
            chosen, rejected = trainer.compute_ref_log_probs(trainer.ref_model, batch)
            if loss_type == "aot":
                # On a batch of one pair TRL's sort in "aot" does nothing, and what is left is conservative
                # DPO
                loss = sum(
                    trainer.compute_loss(trainer.model, trainer.data_collator([p])) for p in pairs
                ) / len(pairs)
            else:
                loss = trainer.compute_loss(trainer.model, batch)
            note = {
                "dpo-sigmoid-beta0.1-smooth0.2": "TRL 1.16.0 ignores label_smoothing for 'sigmoid': equals the case without smoothing",  # noqa: E501
                "dpo-cdpo-beta0.1-smooth0.2": "conservative DPO, -(1-e) logsigmoid(b d) - e logsigmoid(-b d); TRL 1.16.0 has it only "  # noqa: E501
                "inside 'aot', so: mean of TRL's 'aot' losses on single-pair batches",
            }.get(name)
            yield {
                "name": name,
                "objective": "dpo",
                "settings": {
                    "loss_type": loss_type,
                    "beta": beta,
                    "label_smoothing": smoothing,
                    "one_pair_per_call": loss_type == "aot",
                },
                "normaliser": notes[loss_type],
                **({"note": note} if note else {}),
                "inputs": {
                    "prompt_ids": DPO_PROMPTS,
                    "chosen_ids": DPO_CHOSEN,
                    "rejected_ids": DPO_REJECTED,
                    "ref_chosen_logps": chosen.tolist(),
                    "ref_rejected_logps": rejected.tolist(),
                },
                **measure(trainer.model, loss),
            }

    # SFT
    # -------------------------------------------------------------------------------------------------------
    def sft(self):
        from trl import SFTConfig, SFTTrainer

        rows = [
            {"input_ids": p + c, "completion_mask": [0] * len(p) + [1] * len(c)}
            for p, c in zip(SFT_PROMPTS, SFT_COMPLETIONS, strict=True)
        ]
        for name, masked, items in (
            ("sft-prompt-masked", True, None),
            ("sft-prompt-masked-items40", True, 40),
            ("sft-all-tokens", False, None),
        ):
            trainer = SFTTrainer(
                model=build_model(POLICY_SEED),
                args=SFTConfig(
                    **self.common, completion_only_loss=masked, max_length=None, shuffle_dataset=False
                ),
                train_dataset=self.dataset_class.from_list(rows),
                processing_class=self.tokenizer,
            )
            trainer.model.train()
            examples = [{k: row[k] for k in ("input_ids", "labels")} for row in trainer.train_dataset]
            assert [e["input_ids"] for e in examples] == [r["input_ids"] for r in rows]
            batch = trainer.data_collator(examples)
            count = None if items is None else torch.tensor(items)
            loss = trainer.compute_loss(trainer.model, batch, num_items_in_batch=count)
            scored = int((batch["labels"][:, 1:] != -100).sum())
            yield {
                "name": name,
                "objective": "sft",
                "settings": {"loss_type": "nll", "completion_only_loss": masked, "num_items_in_batch": items},
                "normaliser": {
                    "rule": "sum over scored tokens of the batch / num_items_in_batch, or / scored tokens if "
                    "that is null",
                    "scored_tokens": scored,
                    "denominator": items or scored,
                },
                "inputs": {"prompt_ids": SFT_PROMPTS, "completion_ids": SFT_COMPLETIONS},
                **measure(trainer.model, loss),
            }


def record():
    import accelerate
    import datasets
    import peft
    import transformers
    import trl

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        recorder = Recorder(scratch)
        cases = [*recorder.grpo(), *recorder.dpo(), *recorder.sft()]
    modules = (trl, transformers, torch, peft, accelerate, datasets, np)
    head = {
        "command": COMMAND,
        "versions": {m.__name__: m.__version__ for m in modules},
        "model": {
            "config": CONFIG,
            "class": "transformers.LlamaForCausalLM, attn_implementation eager, dtype float32",
            "weights": WEIGHTS,
            "seeds": {"policy": POLICY_SEED, "ref": REF_SEED},
            "sha256": {
                "policy": weights_sha256(build_model(POLICY_SEED)),
                "ref": weights_sha256(build_model(REF_SEED)),
            },
        },
        "grad_param": GRAD_PARAM,
        "conventions": {
            "mode": "train mode, fp32, CPU, one process; loss is what TRL hands to backward",
            "grad_norm": "L2 norm over all policy parameters",
            "grad_sample": "first 8 entries of the flattened gradient of grad_param",
            "rows": "prompt_ids[i] goes with completion_ids[i] (or chosen_ids[i] and rejected_ids[i]); all "
            "unpadded",
            "logps": "old_logps and ref_logps are per completion token; ref_chosen_logps and ref_rejected_logps "  # noqa: E501
            "are sums over the completion",
            "null": "old_logps null: TRL takes the detached policy log-probs; ref_logps null: beta is 0",
        },
    }
    # One case a line: compact, and a change shows as one line
    lines = ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases)
    OUT.write_text(json.dumps(head, indent=1)[:-2] + ',\n "cases": [\n' + lines + "\n]}\n")
    print(f"{len(cases)} cases, {OUT.stat().st_size / 1000:.0f} KB -> {OUT}")


# ------------------------------------------------------------------------------- independent check, no TRL
# from here
def token_logps(model, prompt, completion):
    logits = model(torch.tensor([prompt + completion]), use_cache=False).logits[0, :-1]
    nll = torch.nn.functional.cross_entropy(logits, torch.tensor((prompt + completion)[1:]), reduction="none")
    return -nll[len(prompt) - 1 :]


def own_grpo(model, s, x):
    sums, lengths = [], []
    for i, (prompt, completion) in enumerate(zip(x["prompt_ids"], x["completion_ids"], strict=True)):
        new = token_logps(model, prompt, completion)
        old = new.detach() if x["old_logps"] is None else torch.tensor(x["old_logps"][i], dtype=new.dtype)
        log_ratio = new - old
        if s["importance_sampling_level"] == "sequence":
            log_ratio = log_ratio.mean().expand_as(new)
        ratio, adv = log_ratio.exp(), x["advantages"][i]
        loss = -torch.min(ratio * adv, ratio.clamp(1 - s["epsilon"], 1 + s["epsilon_high"]) * adv)
        if s["beta"]:
            diff = torch.tensor(x["ref_logps"][i], dtype=new.dtype) - new
            kl = diff.exp() - diff - 1
            loss = loss + s["beta"] * kl * (ratio if s["use_bias_correction_kl"] else 1.0)
        sums.append(loss.sum())
        lengths.append(len(completion))
    sums, lengths, accum = torch.stack(sums), torch.tensor(lengths), s["gradient_accumulation_steps"]
    if s["loss_type"] == "grpo":
        return (sums / lengths).mean() / accum
    return (
        sums.sum()
        / {
            "bnpo": lengths.sum() * accum,
            "dr_grpo": len(sums) * s["max_completion_length"] * accum,
            "dapo": s["num_items_in_batch"] / s["num_processes"] * accum / s["steps_per_generation"],
        }[s["loss_type"]]
    )


def own_dpo(model, ref, s, x):
    losses, softplus = [], torch.nn.functional.softplus
    for prompt, *pair, ref_c, ref_r in zip(*x.values(), strict=True):
        with torch.no_grad():
            base = [token_logps(ref, prompt, y).sum() for y in pair]
        assert abs(base[0] - ref_c) < 1e-4 and abs(base[1] - ref_r) < 1e-4
        chosen, rejected = (token_logps(model, prompt, y).sum() - b for y, b in zip(pair, base, strict=True))
        e, margin = s["label_smoothing"], s["beta"] * (chosen - rejected)
        losses.append(
            {
                "sigmoid": softplus(-margin),
                "robust": ((1 - e) * softplus(-margin) - e * softplus(margin)) / (1 - 2 * e),
                "aot": (1 - e) * softplus(-margin) + e * softplus(margin),
                "ipo": (chosen / len(pair[0]) - rejected / len(pair[1]) - 0.5 / s["beta"]) ** 2,
            }[s["loss_type"]]
        )
    return torch.stack(losses).mean()


def own_sft(model, s, x):
    rows = zip(x["prompt_ids"], x["completion_ids"], strict=True)
    if s["completion_only_loss"]:
        scored = torch.cat([token_logps(model, p, c) for p, c in rows])
    else:
        scored = torch.cat([token_logps(model, (p + c)[:1], (p + c)[1:]) for p, c in rows])
    return -scored.sum() / (s["num_items_in_batch"] or len(scored))


def check(tolerance=1e-5):
    torch.set_num_threads(1)
    data = json.loads(OUT.read_text())
    model, ref = build_model(POLICY_SEED), build_model(REF_SEED)
    assert data["model"]["sha256"] == {"policy": weights_sha256(model), "ref": weights_sha256(ref)}
    model, ref = model.double(), ref.double()
    worst = {}
    for case in data["cases"]:
        s, x = case["settings"], case["inputs"]
        own = {"grpo": own_grpo, "dpo": lambda m, s, x: own_dpo(m, ref, s, x), "sft": own_sft}[
            case["objective"]
        ]
        result = measure(model, own(model, s, x))
        gaps = {
            "loss": abs(result["loss"] - case["loss"]),
            "grad_norm": abs(result["grad_norm"] - case["grad_norm"]) / max(1.0, case["grad_norm"]),
            "grad_sample": max(
                abs(a - b) for a, b in zip(result["grad_sample"], case["grad_sample"], strict=True)
            ),
        }
        for key, gap in gaps.items():
            worst[key] = max(worst.get(key, (0.0, "")), (gap, case["name"]))
        if max(gaps.values()) > tolerance:
            print("DIFFERS", case["name"], gaps)
    for key, (gap, name) in worst.items():
        print(f"{key}: largest gap {gap:.1e} ({name})")
    if max(gap for gap, _ in worst.values()) > tolerance:
        raise SystemExit(f"some of {len(data['cases'])} cases differ by more than {tolerance}")
    print(f"all {len(data['cases'])} cases agree within {tolerance}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="check the recorded file instead of recording it"
    )
    check() if parser.parse_args().check else record()
