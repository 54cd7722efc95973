"""Released Qwen folders as the text-encoder components of a V4 pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

__all__ = ["released_parts"]

# By model_type of a released folder; the last is the text_encoder of HunyuanVideo-1.5.
CLASSES = {
    "qwen2_5_vl": "Qwen2_5_VLForConditionalGeneration",
    "qwen3_vl": "Qwen3VLForConditionalGeneration",
    "qwen2_5_omni": "Qwen2_5OmniThinkerForConditionalGeneration",
    "qwen2_5_omni_thinker": "Qwen2_5OmniThinkerForConditionalGeneration",
    "qwen2_5_vl_text": "Qwen2_5_VLTextModel",
}


def released_parts(folder: str | Path, dtype: torch.dtype = torch.bfloat16) -> dict[str, Any]:
    """Arguments of `SkyReelsV4Pipeline`: text_encoder, tokenizer, image_processor, feature_extractor.

    folder: as released (Qwen2.5-VL, Qwen3-VL, Qwen2.5-Omni: its thinker), on disk. The language head stays behind: only
    hidden states are used. Eyes and ears are None where the folder has none. Raises ValueError for other models.
    """
    import transformers

    kind = transformers.AutoConfig.from_pretrained(folder, local_files_only=True).model_type
    if kind not in CLASSES:
        raise ValueError(f"{folder} holds a {kind}; accepted are {', '.join(CLASSES)}")
    model = getattr(transformers, CLASSES[kind]).from_pretrained(folder, dtype=dtype, local_files_only=True).eval()
    made = {"tokenizer": transformers.AutoTokenizer, "image_processor": None, "feature_extractor": None}
    if (Path(folder) / "preprocessor_config.json").is_file():
        made["image_processor"] = transformers.AutoImageProcessor
    if "omni" in kind:
        made["feature_extractor"] = transformers.WhisperFeatureExtractor
    others = {name: maker and maker.from_pretrained(folder, local_files_only=True) for name, maker in made.items()}
    return {"text_encoder": getattr(model, "model", model), **others}
