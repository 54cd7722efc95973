"""Folders as the Qwen team releases them, tiny: with a language head, eyes and ears in one preprocessor_config.json."""

import json

import pytest
import torch
import transformers

from openreels.encoders.multimodal import MultimodalEncoder
from openreels.encoders.released import released_parts

HEADS = {
    "qwen2_5_vl": "Qwen2_5_VLForConditionalGeneration",
    "qwen3_vl": "Qwen3VLForConditionalGeneration",
    "qwen2_5_omni_thinker": "Qwen2_5OmniThinkerForConditionalGeneration",
}


@pytest.mark.parametrize("kind", HEADS)
def test_a_released_folder_becomes_a_text_encoder(full, tmp_path, kind):
    tokenizer = full.tokenizer()
    bare = full.qwen(kind, tokenizer)
    model = getattr(transformers, HEADS[kind])(bare.config)
    model.model.load_state_dict(bare.state_dict())
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    full.eyes().save_pretrained(tmp_path)
    if kind == "qwen2_5_omni_thinker":
        path = tmp_path / "preprocessor_config.json"
        path.write_text(json.dumps(full.ears().to_dict() | json.loads(path.read_text())))
    parts = released_parts(tmp_path, torch.float32)
    assert type(parts["text_encoder"]) is type(bare)
    assert (parts["feature_extractor"] is not None) == (kind == "qwen2_5_omni_thinker")
    loaded = MultimodalEncoder(parts["tokenizer"], parts["text_encoder"], parts["image_processor"])
    prompt = ["a red ball on the grass"]
    assert torch.equal(loaded.encode(prompt).hidden_BLD, MultimodalEncoder(tokenizer, bare).encode(prompt).hidden_BLD)


def test_other_models_are_refused(tmp_path):
    transformers.GPT2Config().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds a gpt2; accepted are qwen2_5_vl, qwen3_vl"):
        released_parts(tmp_path)
