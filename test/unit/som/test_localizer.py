"""The learned backend as a Localizer: instances, NotFound with a reason, hints, SAM 2, command line."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh
import yaml

from storm_core.config import HsfaConfig, OnboardingConfig, SomConfig, StormConfig
from storm_core.errors import BackendError, InputError, WeightsError
from storm_core.types import Frame, Hint, Localization, NotFound, Reason
from test.synthetic import CAMERA, pose, textured_box
from test.unit.som.small import DINO, dino_backbone, dino_network, lite_network, saved, small_views, table_frame, torch

from storm_core.bop.mask_results import read_mask_results  # isort: skip
from storm_core.cli import main as cli  # isort: skip
from storm_core.models.shipped import shipped_file  # isort: skip
from storm_core.som.hsfa.instances import split  # isort: skip
from storm_core.som.hsfa.localizer import SHIPPED, HsfaLocalizer, device_of, open_localizer  # isort: skip
from storm_core.som.hsfa.network import Masks  # isort: skip
from storm_core.som.hsfa.prompts import prompts_from  # isort: skip
from storm_core.som.sam import SamLocalizer, TransformersSam, open_sam  # isort: skip
from storm_core.som.several import localize_all  # isort: skip

BOX = textured_box()
THREE = [pose((0.3, 0.4, 0.1), (x, y, 0.7)) for x, y in ((-0.2, 0.0), (0.02, 0.05), (0.22, -0.02))]


class Painted(torch.nn.Module):
    """In place of a trained network: its logits say where the picture has a given colour."""

    def __init__(self, network, color: tuple[int, int, int] = (200, 20, 20), iou: float = 0.9) -> None:  # noqa: ANN001
        super().__init__()
        self.settings, self.encoder, self._network, self._iou = network.settings, network.encoder, network, iou
        self.register_buffer("color", torch.tensor(color) / 255)

    def remember(self, views):  # noqa: ANN001, ANN201
        return self._network.remember(views)

    def trained_state(self) -> dict:
        return self._network.trained_state()

    def segment(self, query, memory, text=None):  # noqa: ANN001, ANN201
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        rgb = query[:, :3] * std[:, None, None] + mean[:, None, None]
        off = (rgb - self.color[:, None, None]).abs().amax(1, keepdim=True)
        logits = torch.nn.functional.interpolate((0.25 - off) * 40, (self.settings.mask_px,) * 2, mode="bilinear",
                                                 antialias=True)
        return Masks(logits, torch.full((len(query), 1), self._iou))


def painted_frame(masks: np.ndarray, depth: np.ndarray | None = None) -> Frame:
    rgb = np.full((480, 640, 3), 90, np.uint8)
    rgb[masks] = (200, 20, 20)
    depth = np.zeros((480, 640), np.float32) if depth is None else depth
    return Frame(rgb=rgb, depth=depth, camera=CAMERA, stamp_ns=7)


def localizer(tmp_path: Path, iou: float = 0.9, **som) -> HsfaLocalizer:  # noqa: ANN003
    return HsfaLocalizer(Painted(lite_network(), iou=iou), {"box": small_views(BOX)}, SomConfig(**som), tmp_path)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return np.count_nonzero(a & b) / np.count_nonzero(a | b)


def test_three_copies_give_three_masks(tmp_path: Path) -> None:
    frame, masks = table_frame(BOX, THREE)
    painted = painted_frame(masks.any(0), frame.depth)
    found = localizer(tmp_path).localize_all(painted, "box", Hint())
    assert len(found) == 3
    best = [max(range(3), key=lambda k, f=f: iou(f.mask, masks[k])) for f in found]
    assert sorted(best) == [0, 1, 2]
    for f, k in zip(found, best, strict=True):
        assert iou(f.mask, masks[k]) > 0.8 and f.cam_from_objs.shape == (0, 4, 4)


def test_a_closer_look_sharpens_a_small_answer(tmp_path: Path) -> None:
    mask = np.zeros((480, 640), bool)
    mask[200:250, 300:370] = True
    far, near = (localizer(tmp_path, hsfa=HsfaConfig(zoom=zoom)).localize(painted_frame(mask), "box", Hint())
                 for zoom in (False, True))
    assert iou(near.mask, mask) > max(0.9, iou(far.mask, mask))


def test_nothing_is_not_found_with_a_reason_never_a_mask(tmp_path: Path) -> None:
    nothing = painted_frame(np.zeros((480, 640), bool))
    answer = localizer(tmp_path).localize(nothing, "box", Hint())
    assert isinstance(answer, NotFound) and answer.reason is Reason.NO_CANDIDATE and "px" in answer.detail
    mask = np.zeros((480, 640), bool)
    mask[100:300, 100:300] = True
    doubtful = localizer(tmp_path, iou=0.1).localize(painted_frame(mask), "box", Hint())
    assert isinstance(doubtful, NotFound) and doubtful.reason is Reason.VERIFIER_REJECTED
    assert 0 < doubtful.probability < 0.2


def test_hints_restrict_the_search(tmp_path: Path) -> None:
    masks = np.zeros((2, 480, 640), bool)
    masks[0, 100:180, 60:160] = masks[1, 300:380, 420:520] = True
    frame = painted_frame(masks.any(0))
    som = localizer(tmp_path)
    for hint in (Hint(point=(470.0, 340.0)), Hint(box=(410, 290, 530, 390))):
        assert iou(som.localize(frame, "box", hint).mask, masks[1]) > 0.85
    assert isinstance(som.localize(frame, "box", Hint(point=(600.0, 20.0))), NotFound)
    assert (som.localize(frame, "box", Hint(mask=masks[0])).mask == masks[0]).all()
    assert som.localize(frame, "box", Hint(mask=np.zeros((480, 640), bool))).reason is Reason.MASK_EMPTY


def test_touching_copies_part_where_depth_steps() -> None:
    mask = np.zeros((60, 80), bool)
    mask[20:40, 10:70] = True
    depth = np.where(np.arange(80)[None] < 40, 0.6, 0.68).astype(np.float32).repeat(60, 0)
    assert len(split(mask, np.zeros_like(depth), 0.2)) == 1
    parts = split(mask, depth, 0.2)
    assert len(parts) == 2 and (parts[0] | parts[1] == mask).all() and not (parts[0] & parts[1]).any()


@pytest.mark.parametrize("shape", ["disc", "ring"])
def test_prompts_lie_on_the_mask(shape: str) -> None:
    v, u = np.mgrid[:120, :160]
    r = np.hypot(u - 70, v - 50)
    mask = (r < 30) if shape == "disc" else (r < 30) & (r > 20)
    (x, y), (x0, y0, x1, y1) = prompts_from(mask)
    assert mask[round(y), round(x)]
    # 59 px wide, grown by a tenth on every side.
    np.testing.assert_allclose((x0, y0, x1, y1), (41 - 5.9, 21 - 5.9, 100 + 5.9, 80 + 5.9))


def test_an_empty_mask_gives_no_prompt() -> None:
    with pytest.raises(InputError, match="empty"):
        prompts_from(np.zeros((4, 4), bool))


def small_sam(folder: Path) -> Path:
    from transformers import Sam2Config, Sam2Model
    from transformers.models.sam2.configuration_sam2 import (
        Sam2HieraDetConfig,
        Sam2MaskDecoderConfig,
        Sam2PromptEncoderConfig,
        Sam2VisionConfig,
    )

    torch.manual_seed(0)
    hiera = Sam2HieraDetConfig(
        hidden_size=8, num_attention_heads=1, image_size=[128, 128], blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64], num_attention_heads_per_stage=[1, 1, 1, 1],
        window_size_per_stage=[8, 4, 4, 2],
        window_positional_embedding_background_size=[4, 4], global_attention_blocks=[3])
    config = Sam2Config(
        vision_config=Sam2VisionConfig(backbone_config=hiera, backbone_channel_list=[64, 32, 16, 8], fpn_hidden_size=32,
                                       backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]]),
        prompt_encoder_config=Sam2PromptEncoderConfig(hidden_size=32, image_size=128, mask_input_channels=8),
        mask_decoder_config=Sam2MaskDecoderConfig(hidden_size=32, mlp_dim=32, num_attention_heads=2,
                                                  iou_head_hidden_dim=16))
    Sam2Model(config).save_pretrained(folder)
    return folder


def test_sam_answers_in_picture_size_for_any_aspect_ratio(tmp_path: Path) -> None:
    sam = TransformersSam(small_sam(tmp_path / "sam"))
    for height, width in ((90, 160), (160, 90)):
        mask = np.zeros((height, width), bool)
        mask[20:60, 30:70] = True
        answer = sam.segment(np.full((height, width, 3), 100, np.uint8), prompts_from(mask))
        assert answer.shape == (height, width) and answer.dtype == bool


def test_sam_only_replaces_masks_it_agrees_with(tmp_path: Path) -> None:
    mask = np.zeros((480, 640), bool)
    mask[100:300, 100:300] = True

    class Answers:
        def __init__(self, answer: np.ndarray) -> None:
            self.answer = answer

        def segment(self, rgb, prompts) -> np.ndarray:  # noqa: ANN001
            return self.answer

    frame, smaller = painted_frame(mask), np.zeros_like(mask)
    smaller[110:300, 100:300] = True
    for answer, expected in ((smaller, smaller), (~mask, None)):
        found = SamLocalizer(localizer(tmp_path), Answers(answer)).localize(frame, "box", Hint())
        assert iou(found.mask, mask if expected is None else expected) > 0.95
    som = SamLocalizer(localizer(tmp_path), Answers(~mask))
    assert isinstance(som.localize(painted_frame(np.zeros_like(mask)), "box", Hint()), NotFound)
    assert len(localize_all(som, frame, "box", Hint())) == 1


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORM_WEIGHTS", str(tmp_path / "none"))
    with pytest.raises(WeightsError, match="no.safetensors"):
        open_localizer({}, SomConfig(hsfa=HsfaConfig(weights=str(tmp_path / "no.safetensors"))), OnboardingConfig())
    file = saved(dino_network(), tmp_path / "net.safetensors")
    with pytest.raises(WeightsError, match="storm weights fetch dinov2-base"):
        open_localizer({}, SomConfig(hsfa=HsfaConfig(weights=str(file))), OnboardingConfig())
    with pytest.raises(WeightsError, match="storm weights fetch sam2-tiny"):
        open_sam("sam2-tiny")
    with pytest.raises(WeightsError, match="does not exist"):
        open_sam(str(tmp_path / "sam2.1_hiera_tiny.pt"))
    with pytest.raises(BackendError, match="no device"):
        device_of("abacus")


def test_a_device_has_a_number_that_torch_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert [device_of(name) for name in ("auto", "cuda", "cuda:0", "cpu")] == ["cuda", "cuda", "cuda:0", "cpu"]
    with pytest.raises(BackendError, match=r"cuda:7, but torch sees 1 CUDA device"):
        device_of("cuda:7")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendError, match="no CUDA device"):
        device_of("cuda:0")


def test_the_shipped_network_is_that_of_the_manifest_and_needs_no_name(tmp_path: Path) -> None:
    file = shipped_file(SHIPPED)
    listed = yaml.safe_load((file.parent / "manifest.yaml").read_text())["shipped"]
    entry, = [entry for entry in listed if entry["file"] == file.name]
    content = file.read_bytes()
    assert (entry["sha256"], entry["bytes"]) == (hashlib.sha256(content).hexdigest(), len(content))
    assert len(content) <= 10e6
    som = open_localizer({"box": small_views()}, SomConfig(backend="hsfa"), OnboardingConfig(cache=str(tmp_path)))
    frame, masks = table_frame(BOX, THREE[1:2])
    rows, columns = np.nonzero(masks[0])
    box = (float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1))
    answer = som.localize(frame, "box", Hint(box=box))
    assert isinstance(answer, NotFound) or iou(answer.mask, masks[0]) > 0.3, "what it is sure of is the object"


def test_without_torch_the_backend_says_so_and_the_geometric_one_still_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    from storm_core.models import packages
    from storm_core.pipeline.build import build_localizer

    known = packages.find_spec
    monkeypatch.setattr(packages, "find_spec", lambda name: None if name == "torch" else known(name))
    config = StormConfig()
    learned = replace(config, som=SomConfig(backend="hsfa"))
    with pytest.raises(BackendError, match=r"needs torch.*make full"):
        build_localizer(learned, {})
    with pytest.raises(BackendError, match=r"needs torch.*make full"):
        build_localizer(replace(config, som=SomConfig(sam="sam2-tiny")), {})
    assert build_localizer(config, {}) is not None


def test_one_picture_end_to_end_with_dino_text_and_sam(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Random weights of every model, through the command line: the answers mean nothing, the machinery is whole."""
    from test.unit.som.test_text import small_clip

    torch.manual_seed(0)
    network = dino_network()
    with torch.no_grad():
        network.decoder.plain.bias.fill_(4.0)  # marks everything, so that the steps after the network run
        network.decoder.iou[-1].bias.fill_(4.0)
    weights = saved(network, tmp_path / "net.safetensors")
    dino_backbone().save_pretrained(tmp_path / "dino")
    small_clip(tmp_path / "clip", DINO.text_dim)
    (tmp_path / "descriptions.json").write_text('{"brick": "red box"}')
    trimesh.creation.box(extents=(0.05, 0.08, 0.1)).export(tmp_path / "brick.ply")
    cv2.imwrite(str(tmp_path / "query.png"), np.full((60, 100, 3), 90, np.uint8))
    hsfa = [f"som.hsfa.{k}={tmp_path / v}" for k, v in (("backbone", "dino"), ("text", "descriptions.json"),
                                                         ("text_encoder", "clip"))]
    sets = [f"--set={s}" for s in ("som.backend=hsfa", f"som.hsfa.weights={weights}", *hsfa, "onboarding.views=4",
                                   "onboarding.view_size=64", f"onboarding.cache={tmp_path / 'cache'}")]
    command = ["segment", "--query", str(tmp_path / "query.png"), "--object", str(tmp_path / "brick.ply"), "--out",
               str(tmp_path / "out"), "--sam", str(small_sam(tmp_path / "sam")), "--json", str(tmp_path / "r.json")]
    command += sets
    assert cli.main(command) == 0, capsys.readouterr().err
    answers = json.loads((tmp_path / "out" / "results.json").read_text())["answers"]
    assert answers[0]["found"] and answers[0]["object"] == "brick"
    estimate, = read_mask_results(tmp_path / "out" / "masks.json")
    stored = cv2.imread(str(tmp_path / "out" / "brick_0.png"), cv2.IMREAD_GRAYSCALE) > 0
    assert (estimate.mask() == stored).all() and stored.shape == (60, 100)
    assert (tmp_path / "out" / "overlay.png").is_file() and json.loads((tmp_path / "r.json").read_text())
    # The same object by its views alone.
    assert cli.main(["render", "views", str(tmp_path / "brick.ply"), "--out", str(tmp_path / "views"), "--views", "4",
                     "--size", "64"]) == 0
    command[4] = str(tmp_path / "views" / "brick")
    assert cli.main(command) == 0, capsys.readouterr().err


def test_the_pipeline_runs_with_the_learned_backend(tmp_path: Path) -> None:
    """The composition root builds it, its masks reach the registration, and an untrained network is not trusted."""
    from storm_core.pipeline.build import build_pipeline

    network = lite_network()
    with torch.no_grad():
        network.decoder.plain.bias.fill_(4.0)
        network.decoder.iou[-1].bias.fill_(4.0)
    config = StormConfig(
        onboarding=OnboardingConfig(cache=str(tmp_path), views=4, view_size=64, rotations=60),
        som=SomConfig(backend="hsfa", hsfa=HsfaConfig(weights=str(saved(network, tmp_path / "net.safetensors")))))
    frame, _ = table_frame(BOX, THREE[1:2])
    out = build_pipeline(config, {"box": BOX}).step(frame)
    answer, = out.objects
    assert answer.object_name == "box" and not answer.trusted and out.stage_ms["localize"] > 0


def test_wrong_queries_are_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    cv2.imwrite(str(tmp_path / "q.png"), np.zeros((8, 8, 3), np.uint8))
    query = ["segment", "--query", str(tmp_path / "q.png")]
    for arguments, words in (
            (["segment"], "--query"), (query, "--object"), ([*query, "--object", "x.ply"], "--depth"),
            ([*query, "--object", "x.ply", "--depth", "d.png"], "--camera"),
            (["segment", "rec", "--object", "x.ply"], "belong to --query"),
            (["segment", "rec", "--query", "q.png", "--object", "x.ply"], "remove the recording"),
            (["segment", "--query", str(tmp_path / "no.png"), "--object", "x", "--set", "som.backend=hsfa"], "no.png")):
        assert cli.main(arguments) == 1
        assert words in capsys.readouterr().err


def test_a_localization_never_has_an_empty_mask() -> None:
    with pytest.raises(InputError, match="NotFound"):
        Localization(object_name="a", stamp_ns=0, mask=np.zeros((3, 3), bool), cam_from_objs=np.zeros((0, 4, 4)),
                     probability=1.0)
