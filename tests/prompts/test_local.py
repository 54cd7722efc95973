"""A local chat model: the real classes of transformers at a tiny size."""

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from openreels.prompts import Embedded
from openreels.prompts.chat import ChatEnhancer, ChatError
from openreels.prompts.local import LocalChat, asked

TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}[me]{% endif %}"
)
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + TEMPLATE
LAST_ONLY = "[{{ messages[-1].role }}]{{ messages[-1].content }}\n[me]"
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "A ball"}]
PROMPT = "A rubber ball bounces on the grass"


def chat_model(folder, template=TEMPLATE, answer=None):
    """A language model over bytes with random weights; with `answer`, one that has learned to answer PROMPT by it."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate([*alphabet, "<eos>"])}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<eos>")
    fast.chat_template = template
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(vocab_size=len(fast), hidden_size=32, intermediate_size=64, num_hidden_layers=1,
                    num_attention_heads=2, max_position_embeddings=8_192, eos_token_id=fast.eos_token_id,
                    bos_token_id=None, pad_token_id=fast.pad_token_id)
    )  # fmt: skip
    model.generation_config.eos_token_id = fast.eos_token_id
    if answer:
        learn(model, fast, answer)
    fast.save_pretrained(folder)
    model.save_pretrained(folder)
    return LocalChat(str(folder), device="cpu", max_new_tokens=12)


def learn(model, tokenizer, answer):
    head = asked(tokenizer, [{"role": "user", "content": PROMPT}])["input_ids"]
    tail = tokenizer(answer + tokenizer.eos_token, return_tensors="pt")["input_ids"]
    labels = torch.cat([torch.full_like(head, -100), tail], 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(150):
        loss = model(input_ids=torch.cat([head, tail], 1), labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss < 0.02:
            break


def test_a_good_answer_is_used(tmp_path, one_thread):
    caption = "A ball hops. <sfx> Thuds. </sfx>"
    chat = chat_model(tmp_path, LAST_ONLY, caption)
    chat.max_new_tokens = 48
    made = ChatEnhancer(chat)(PROMPT)
    assert (made.prompt, made.by, made.warnings) == (caption, str(tmp_path), ())
    assert ChatEnhancer(chat)(PROMPT) == made


def test_the_template_is_the_models_own(tmp_path):
    _, tokenizer = chat_model(tmp_path).load()
    assert tokenizer.decode(asked(tokenizer, MESSAGES)["input_ids"][0]) == "[system]Be brief.\n[user]A ball\n[me]"


def test_a_template_without_a_system_role(tmp_path):
    _, tokenizer = chat_model(tmp_path, NO_SYSTEM).load()
    assert tokenizer.decode(asked(tokenizer, MESSAGES)["input_ids"][0]) == "[user]Be brief.\n\nA ball\n[me]"


def test_gibberish_is_given_up_with_a_warning(tmp_path):
    made = ChatEnhancer(chat_model(tmp_path))(PROMPT)
    assert (made.prompt, made.by) == (Embedded()(PROMPT).prompt, "embedded")
    assert made.warnings == (
        f"the embedded enhancer wrote the prompt, as {tmp_path} could not: it did not come to an end within 12 tokens",
    )


def test_what_is_no_chat_model(tmp_path):
    with pytest.raises(ChatError, match="it has no chat template"):
        chat_model(tmp_path, template=None).reply(MESSAGES)
    with pytest.raises(ChatError, match="it cannot be loaded"):
        LocalChat(str(tmp_path / "nothing")).reply(MESSAGES)
