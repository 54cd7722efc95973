"""The stages of training the V4 transformer, and what one step of a stage computes.

images -> video, and sound alone beside them; then the audio tower learns to follow a frozen video tower (video to
audio); then both together. Every loss is the squared error of the velocity on the straight path (paper, training
objective).

Legend: B batch, N video tokens, A audio tokens, C channels, L text tokens, P tokens that are looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from openreels.encoders.text import TextEncoder
from openreels.flow.path import interpolate, velocity
from openreels.models.layout import LAYOUT_PARTS, heard_layout, seen_layout, subject_distance
from openreels.models.sketch import Sketched
from openreels.models.surroundings import Surroundings
from openreels.models.v4 import SkyReelsV4Transformer
from openreels.nn.precision import autocast
from openreels.training.latents import Bucket, LatentSet
from openreels.training.loop import Task
from openreels.training.optimizers import muon_and_adamw
from openreels.training.text_encoder import AttributeHeads, scene_attributes, slot_losses
from openreels.training.token_truth import TokenHeads, TokenTruth, overheard, token_error
from openreels.types import Context, StreamState, VideoShape

__all__ = ["Share", "Stage", "StageTask", "TimeSampling"]

LENGTHS = 4  # classes of caption length
BLIND = 0.15  # share of steps in which sketches do not see what is given
DEAF = 0.15  # share of steps in which sketches hear of the prompt by its brief alone: so that they learn to go by it
# Where the sketch learns alone, it learns from some tokens of a clip: what is near a subject is harder to draw, and
# what clips are about.
SKETCHED = 64  # tokens of a clip
NEAR = 2.0  # tokens from a subject's middle
FAR_WORTH, GIVEN_WORTH = 0.25, 0.02  # how often a token is taken that is not near, or given already; a near one: 1


@dataclass(frozen=True)
class TimeSampling:
    """How times are drawn.

    mean, std: of the logit-normal density of t (mean < 0 visits the noisy part more often).
    The rest are shares of the joint samples: both streams at one time, or one of them given clean (t = 1), so that a
    soundtrack can drive a picture and the other way round; what is left draws two independent times.
    """

    mean: float = -0.3
    std: float = 1.0
    shared: float = 1.0
    clean_video: float = 0.0
    clean_audio: float = 0.0

    def draw(self, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(t_video, t_audio), each (B,). A batch covers the density evenly: no step is all noise, or all data."""
        order = torch.stack([torch.randperm(batch, generator=generator) for _ in range(2)])
        quantile = (order + torch.rand(2, batch, generator=generator)) / batch
        normal = torch.special.ndtri(quantile.clamp(1e-5, 1 - 1e-5))
        video_B, audio_B = torch.sigmoid(self.mean + self.std * normal)
        kind_B = torch.rand(batch, generator=generator)
        audio_B = torch.where(kind_B < self.shared, video_B, audio_B)
        clean_video = (kind_B >= self.shared) & (kind_B < self.shared + self.clean_video)
        clean_audio = kind_B >= 1 - self.clean_audio
        return video_B.masked_fill(clean_video, 1.0), audio_B.masked_fill(clean_audio, 1.0)


@dataclass(frozen=True)
class Share:
    """One bucket's part in a stage: how often it is drawn, and how many clips a step then takes.

    What the bucket's clips do not have ("audio" of stills) does not run.
    """

    bucket: Bucket
    weight: float
    batch: int
    shards: int


@dataclass(frozen=True)
class Stage:
    """One stage, complete.

    streams: which towers run ("video", "audio"); learns: which parts get gradients ("video", "audio", "cross", "text",
    "sketch"). A stage that learns the sketch alone runs no tower.
    "text" finishes the text encoder together with the pictures; in all other stages it is frozen. reads: it must then
    also say what a caption holds, so that it does not forget the words that the pictures have no use for.
    naming: weight of what the towers that learn must say of each token halfway (`token_truth`), against the velocity.
    text_rate: of the text encoder's learning rates, against the others'; small where frozen parts read its text too.
    starts_from: part -> the stage whose weights it starts with (none: freshly initialised).
    minutes_share: of a run's wall-clock budget. text_dropout, cross_dropout: share of samples without prompt / tie.
    reference_dropout, layout_dropout: share of steps without references, and without layouts. layout_dropout_given: the
    same where something is given in which places are seen or heard too: frames, all of a stream, a source, references.
    begun: share of the steps on plain clips in which their first frame, or more of their beginning, is given.
    """

    name: str
    streams: tuple[str, ...]
    learns: tuple[str, ...]
    starts_from: Mapping[str, str]
    shares: Sequence[Share]
    minutes_share: float
    muon_lr: float
    adamw_lr: float
    reads: bool = False
    naming: float = 0.0
    text_rate: float = 1.0
    times: TimeSampling = TimeSampling()
    text_dropout: float = 0.1
    cross_dropout: float = 0.1
    reference_dropout: float = 0.05
    layout_dropout: float = 0.1
    layout_dropout_given: float = 0.4
    begun: float = 0.0
    audio_weight: float = 1.0
    decay: float = 0.4

    @property
    def buckets(self) -> set[Bucket]:
        return {share.bucket for share in self.shares}

    def streams_of(self, share: Share) -> tuple[str, ...]:
        """The towers that run on the clips of `share`."""
        return tuple(name for name in self.streams if name in share.bucket.streams)


class OnPath(NamedTuple):
    """A state on the path from noise to data, and the velocity that is right there."""

    state: StreamState
    target_BNC: Tensor

    @property
    def data_BNC(self) -> Tensor:
        """Where the path ends."""
        return self.state.noisy_BNC.float() + (1 - self.state.time_B)[:, None, None] * self.target_BNC

    def to(self, device: torch.device) -> OnPath:
        return OnPath(self.state.to(device), self.target_BNC.to(device))


class Draw(NamedTuple):
    """What one step works on, on the CPU.

    tokens_BL, mask_BL: of the captions. said_B: whether a caption was left standing. tie_B: 1 = the streams see each
    other. attributes_BS: what the scenes show, where the text encoder learns too. truth: what the tokens of the streams
    hold, where that is to be said. is_blind: whether sketches go by layouts and prompts alone, as they must where they
    say how well a layout explains what is given (`models/evidence.py`). is_deaf: whether those of pictures hear of the
    prompt what its brief says, and no words. looked_at_BP: the video tokens that a sketch
    learns from; None: all.
    """

    tokens_BL: Tensor
    mask_BL: Tensor
    said_B: Tensor
    video: OnPath | None
    audio: OnPath | None
    tie_B: Tensor
    attributes_BS: Tensor | None
    truth: dict[str, TokenTruth]
    is_blind: bool
    is_deaf: bool
    looked_at_BP: Tensor | None


def part_of(name: str) -> str:
    """Which part a parameter of the transformer belongs to."""
    pieces = name.split(".")
    if pieces[0] != "layers":
        return "sketch" if pieces[1] == "sketch" else pieces[0]
    return pieces[2] if pieces[2] in ("video", "audio") else "cross"


class StageTask(Task):
    """One stage as a task of the training loop."""

    def __init__(
        self,
        stage: Stage,
        model: SkyReelsV4Transformer,
        encoder: TextEncoder,
        latents: Mapping[Bucket, LatentSet],
        heads: AttributeHeads | None = None,
    ):
        self.stage, self.model, self.encoder, self.latents = stage, model, encoder, latents
        self.name = stage.name
        self.modules: dict[str, nn.Module] = {"transformer": model}
        self.heads = heads if stage.reads else None
        encoder.model.requires_grad_("text" in stage.learns)
        if "text" in stage.learns:
            self.modules["encoder"] = encoder.model
        if self.heads is not None:
            self.modules["heads"] = self.heads
        self.is_sketching = {*stage.learns} == {"sketch"}
        self.named = tuple(name for name in ("video", "audio") if stage.naming and name in stage.learns)
        width = model.config.num_heads * sum(model.config.rope_axis_dims)
        self.modules |= {f"{name}_names": TokenHeads(width, name).to(model.device) for name in self.named}
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(part_of(name) in stage.learns and self._reached(name))
        rates = {"muon_lr": stage.muon_lr, "adamw_lr": stage.adamw_lr}
        if stage.text_rate == 1.0 or "text" not in stage.learns:
            self.optimizers = muon_and_adamw(self.modules.values(), **rates)
        else:
            others = [module for name, module in self.modules.items() if name != "encoder"]
            slower = {name: rate * stage.text_rate for name, rate in rates.items()}
            self.optimizers = [*muon_and_adamw(others, **rates), *muon_and_adamw([encoder.model], **slower)]
        weights = torch.tensor([share.weight for share in stage.shares])
        self.cumulative = (weights / weights.sum()).cumsum(0)

    def _reached(self, name: str) -> bool:
        """Whether this stage uses a part at all (an unused weight must not decay): sound alone has no layout."""
        if "video_from_audio" in name:
            return "video" in self.stage.learns
        told = any(part in name for part in LAYOUT_PARTS)
        return not told or ("video" in self.stage.streams and name.split(".")[0] in self.stage.streams)

    @property
    def samples_per_step(self) -> int:
        total = sum(share.weight for share in self.stage.shares)
        return round(sum(share.weight * share.batch for share in self.stage.shares) / total)

    def draw(self, step: int, generator: torch.Generator) -> Draw:
        # The kind of clip is drawn from the step alone, so that all processes take the same one and none waits.
        shared = torch.Generator().manual_seed(step)
        choice = float(torch.rand((), generator=shared))
        share = self.stage.shares[min(int((self.cumulative < choice).sum()), len(self.stage.shares) - 1)]
        length = int(torch.randint(LENGTHS, (), generator=shared))
        referred = float(torch.rand((), generator=shared)) >= self.stage.reference_dropout
        told, blind, begun, deaf = (float(torch.rand((), generator=shared)) for _ in range(4))
        streams = self.stage.streams_of(share)
        data = self.latents[share.bucket]
        index, texts = self._clips_and_captions(data, share.batch, length, generator)
        t_video_B, t_audio_B = self._times(data, share.batch, generator)
        if "audio" in self.stage.learns and "video" not in self.stage.learns and "video" in self.stage.streams:
            # Following a picture: half of the clips show it finished, half at any other time.
            t_video_B = torch.where(torch.rand(share.batch, generator=generator) < 0.5, 1.0, t_video_B)
        tie_B = (torch.rand(share.batch, generator=generator) >= self.stage.cross_dropout).float()

        video = audio = None
        is_begun = data.bucket.row is None and data.bucket.frames > 1 and begun < self.stage.begun
        if "video" in streams:
            blank, clean_BNC = data.blank("video", index, referred), data.latents["video"][index].float()
            if is_begun:
                blank = with_beginning(blank, clean_BNC, data.video_shape, shared)
            video = on_path(blank, clean_BNC, t_video_B, generator)
        if "audio" in streams:
            blank = data.blank("audio", index, referred)
            audio = on_path(blank, data.latents["audio"][index].float(), t_audio_B, generator)
        untold = self.stage.layout_dropout if data.is_unseen and not is_begun else self.stage.layout_dropout_given
        is_told = self.model.config.layout_classes is not None and told >= untold
        if is_told and video is not None:
            said_B = torch.tensor([bool(text) for text in texts])
            video, audio = self._with_layouts(data, index, video, audio, said_B, generator)
        attributes_BS = None
        if self.heads is not None and share.bucket.row is None:
            attributes_BS = torch.tensor([scene_attributes(data.scene(i)) for i in index.tolist()])
        said_B = torch.tensor([bool(text) for text in texts])
        truth = {
            name: TokenTruth.stack([data.truth(name, i) for i in index.tolist()])
            for name in self.named
            if name in streams
        }
        looked_at_BP = None
        if self.is_sketching and is_told and video is not None and video.state.tokens > SKETCHED:
            looked_at_BP = worth_sketching(video.state).multinomial(SKETCHED, generator=generator)
        captions = self.encoder.tokenize(texts)
        is_blind, is_deaf = blind < BLIND, deaf < DEAF
        return Draw(*captions, said_B, video, audio, tie_B, attributes_BS, truth, is_blind, is_deaf, looked_at_BP)

    def loss(self, drawn: Draw) -> tuple[Tensor, dict[str, float | Tensor]]:
        device = self.model.device
        with autocast(device), torch.set_grad_enabled("text" in self.stage.learns):
            context = self.encoder.read(drawn.tokens_BL, drawn.mask_BL)
        video = drawn.video.to(device) if drawn.video is not None else None
        audio = drawn.audio.to(device) if drawn.audio is not None else None
        joint = video is not None and audio is not None
        loss, shown = torch.zeros((), device=device), {}
        if "sketch" in self.stage.learns:
            streams = {"video": video, "audio": audio}
            for name, stream in streams.items():
                if stream is not None and stream.state.layout_BNK is not None:
                    looked_at_BP = drawn.looked_at_BP if name == "video" else None
                    is_deaf = drawn.is_deaf and name == "video" and context.brief_BK is not None
                    heard = context.briefly() if is_deaf else context
                    streams[name], error, shown[f"{name} sketch"] = self._sketched(
                        name, stream, heard, drawn.is_blind, looked_at_BP
                    )
                    loss = loss + error
            video, audio = streams.values()
        if self.is_sketching:
            return loss, shown
        with autocast(device), overheard(self.model.layers[len(self.model.layers) * 2 // 3 - 1]) as halfway:
            video_v, audio_v = self.model(
                video.state if video else None,
                audio.state if audio else None,
                context,
                drawn.tie_B.to(device) if joint else None,
                video_listens="video" in self.stage.learns,
            )
        if drawn.attributes_BS is not None:
            # Stills say nothing of motion and sound: reading them out keeps the encoder from forgetting their words.
            # What is left empty counts nothing, and is read all the same: all processes must have the same gradients.
            said_B1 = drawn.said_B.to(device)[:, None].float()
            answers = self.heads(context.hidden_BLD, context.mask_BL)
            losses_BS, rights_BS = slot_losses(answers, drawn.attributes_BS.to(device))
            count = said_B1.sum().clamp(min=1)
            loss = loss + (losses_BS.mean(1, keepdim=True) * said_B1).sum() / count
            if drawn.said_B.any():
                shown["read"] = (rights_BS.mean(1, keepdim=True) * said_B1).sum() / count
        if video is not None and "video" in self.stage.learns:
            error = flow_error(video_v, video)
            loss, shown["video"] = loss + error, error.detach()
        if audio is not None:
            error = flow_error(audio_v, audio)
            loss, shown["audio"] = loss + self.stage.audio_weight * error, error.detach()
        for name, truth in drawn.truth.items():
            state, hidden_BND = (video.state, halfway[0][0]) if name == "video" else (audio.state, halfway[0][2])
            with autocast(device):
                said = self.modules[f"{name}_names"](hidden_BND[:, state.references :])
            generated_BN = generated(state)
            error, right = token_error(said, truth.to(device), generated_BN)
            loss = loss + self.stage.naming * error
            if (generated_BN.cpu() * truth.classes_BNK[..., 0]).any():  # else there is nothing to name
                shown[f"{name} named"] = right
        return loss, shown

    def _sketched(
        self, name: str, stream: OnPath, context: Context, is_blind: bool, looked_at_BP: Tensor | None
    ) -> tuple[OnPath, Tensor, Tensor]:
        """A told stream with its sketch, which learns nothing from the tower that sees it (as it was, where some tokens
        alone are looked at); the sketch's loss, and the squared error of its mean."""
        state = stream.state
        told_BPK, data_BPC = state.layout_BNK, stream.data_BNC
        surroundings = None if is_blind else Surroundings.of(state)
        if looked_at_BP is not None:
            index_BP1 = looked_at_BP.to(state.layout_BNK.device)[..., None]
            told_BPK, data_BPC = (x.gather(1, index_BP1.expand(-1, -1, x.shape[-1])) for x in (told_BPK, data_BPC))
            surroundings = surroundings and surroundings.at(index_BP1[..., 0])
        with autocast(self.model.device):
            sketched = getattr(self.model, name).sketch(told_BPK, context, surroundings)
        error, mean_error = sketch_error(sketched, data_BPC, told_BPK[..., -1])
        if looked_at_BP is None:
            stream = stream._replace(state=replace(state, sketch_BNK=torch.cat(sketched, dim=-1).detach()))
        return stream, error, mean_error

    def _with_layouts(
        self,
        data: LatentSet,
        index: Tensor,
        video: OnPath,
        audio: OnPath | None,
        said_B: Tensor,
        generator: torch.Generator,
    ) -> tuple[OnPath, OnPath | None]:
        """The streams of the clips `index`, told where everything is. Not so clips without a prompt, as guidance will
        have them (`flow/guidance.py`); and of plain ones of which one stream is given whole, some: what goes with a
        sound or a picture must also be found there."""
        layout_BSFK = torch.stack([data.layout(i) for i in index.tolist()])
        told_B = said_B.clone()
        if data.bucket.row is None:
            untold_B = torch.rand(len(index), generator=generator) < self.stage.layout_dropout_given
            for stream in (video, audio):
                if stream is not None:
                    told_B &= ~((stream.state.time_B == 1) & untold_B)
        told_B11 = told_B[:, None, None].float()
        seen_BNK = seen_layout(layout_BSFK, data.video_shape) * told_B11
        video = video._replace(state=replace(video.state, layout_BNK=seen_BNK))
        if audio is None:
            return video, None
        heard_BNK = heard_layout(layout_BSFK, audio.state.tokens) * told_B11
        return video, audio._replace(state=replace(audio.state, layout_BNK=heard_BNK))

    def _times(self, data: LatentSet, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """As the stage draws them; cases in which one stream is given whole are about that one being given."""
        if data.whole is None:
            return self.stage.times.draw(batch, generator)
        free = replace(self.stage.times, clean_video=0.0, clean_audio=0.0)
        t_video_B, t_audio_B = free.draw(batch, generator)
        whole_B = torch.ones(batch)
        return (whole_B, t_audio_B) if data.whole == "video" else (t_video_B, whole_B)

    def _clips_and_captions(
        self, data: LatentSet, batch: int, length: int, generator: torch.Generator
    ) -> tuple[Tensor, list[str]]:
        """Clips whose captions are about equally long, and the captions; some are left empty.

        Padding would be half of all text tokens: so several batches' worth is drawn, sorted by length and cut into
        `LENGTHS` batches, of which number `length` is taken. Every caption is as likely as without sorting.
        """
        index = torch.randint(len(data), (batch * LENGTHS,), generator=generator)
        seeds = torch.randint(2**31, (batch * LENGTHS,), generator=generator).tolist()
        texts = [data.caption(i, seed) for i, seed in zip(index.tolist(), seeds, strict=True)]
        tokens = torch.tensor([len(ids) for ids in self.encoder.tokenizer(texts).input_ids])
        chosen = tokens.argsort(stable=True)[length * batch : (length + 1) * batch]
        empty = (torch.rand(batch, generator=generator) < self.stage.text_dropout).tolist()
        return index[chosen], ["" if drop else texts[i] for i, drop in zip(chosen.tolist(), empty, strict=True)]


def on_path(blank: StreamState, data: Tensor, time_B: Tensor, generator: torch.Generator) -> OnPath:
    """A state somewhere on the path to `data`, and the velocity it should be given."""
    noise = torch.randn(data.shape, generator=generator)
    return OnPath(blank.at(interpolate(data, noise, time_B), time_B), velocity(data, noise))


def with_beginning(blank: StreamState, clean_BNC: Tensor, shape: VideoShape, generator: torch.Generator) -> StreamState:
    """The state of clips whose first latent frame is given, or half of the time some more: a causal codec encodes the
    beginning of a clip to the beginning of its latents, so no other encoding is needed."""
    more = shape.latent_frames - 2
    drawn = 1 + int(torch.randint(2 * max(more, 1), (), generator=generator))
    kept = drawn if drawn <= more else 1
    mask_BN1 = torch.zeros_like(blank.mask_BN1)
    mask_BN1[:, : kept * shape.latent_height * shape.latent_width] = 1.0
    return replace(blank, given_BNC=clean_BNC * mask_BN1, mask_BN1=mask_BN1)


def flow_error(predicted: Tensor, truth: OnPath) -> Tensor:
    """Mean squared error over what was to be generated: samples at t < 1, and of these tokens not given entirely."""
    error_BN = (predicted - truth.target_BNC).square().mean(-1)
    generated_BN = generated(truth.state)
    return (error_BN * generated_BN).sum() / generated_BN.sum().clamp(min=1)


def worth_sketching(state: StreamState) -> Tensor:
    """(B, N): how much there is to learn from drawing each token of a told video, relative to the others."""
    is_near_BN = subject_distance(state.layout_BNK) < NEAR
    worth_BN = torch.where(is_near_BN, 1.0, FAR_WORTH)
    return worth_BN.masked_fill(state.mask_BN1[..., 0] >= 1, GIVEN_WORTH)


def sketch_error(sketched: Sketched, data_BNC: Tensor, told_BN: Tensor) -> tuple[Tensor, Tensor]:
    """Of the tokens that are told: how unlikely the data are by the sketch, and the squared error of its mean.

    Each token's log-likelihood counts by the root of its variance (Seitzer et al., "On the Pitfalls of Heteroscedastic
    Uncertainty Estimation", 2022): with squared errors alone, what nobody can know of a background is learnt by heart;
    with plain likelihoods, little but copies would count.
    """
    count = told_BN.sum().clamp(min=1)
    error_BN = (sketched.mean_BNC - data_BNC).square().mean(-1)
    variance_BN = sketched.variance_BN1.squeeze(-1)
    unlikely_BN = 0.5 * (variance_BN.log() + error_BN / variance_BN) * variance_BN.detach().sqrt()
    return (unlikely_BN * told_BN).sum() / count, ((error_BN * told_BN).sum() / count).detach()


def generated(state: StreamState) -> Tensor:
    """(B, N): 1 where something is to be generated, 0 where it is given."""
    return (state.time_B < 1).float()[:, None] * (state.mask_BN1[..., 0] < 1).float()
