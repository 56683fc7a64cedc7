"""What flows between stages. Frozen, validated once at construction; absence is a value with a reason."""

from dataclasses import dataclass, field, fields
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from storm_core.errors import InputError
from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.pose import inverse, require_pose


def _frozen(array: NDArray) -> NDArray:
    view = array.view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, eq=False, kw_only=True)
class Frame:
    """One synchronised RGB-D observation in the optical frame of the colour camera.

    Attributes:
      rgb: (H, W, 3) uint8, RGB order.
      depth: (H, W) float32, z-depth in metres, aligned to colour; 0 marks a missing measurement, and what is not finite
        (REP 118: too near, too far, unknown) becomes 0.
      camera: intrinsics of both images.
      stamp_ns: acquisition time [ns].
      frame_id: tf name of the optical frame.
      fixed_from_cam: (4, 4) where the camera is in something that does not move; None when nobody knows.
    """

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    camera: PinholeCamera
    stamp_ns: int
    frame_id: str = "camera_color_optical_frame"
    fixed_from_cam: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        h, w = self.camera.height, self.camera.width
        if self.rgb.shape != (h, w, 3) or self.rgb.dtype != np.uint8:
            raise InputError(
                f"rgb must be ({h}, {w}, 3) uint8 to fit the camera, got {self.rgb.shape} {self.rgb.dtype}"
            )
        if self.depth.shape != (h, w) or self.depth.dtype != np.float32:
            raise InputError(
                f"depth must be ({h}, {w}) float32 aligned with colour, got {self.depth.shape} "
                f"{self.depth.dtype}; register depth to the colour camera first"
            )
        if not np.isfinite(np.vdot(self.depth, self.depth)):
            object.__setattr__(self, "depth", np.nan_to_num(self.depth, nan=0.0, posinf=0.0, neginf=0.0))
        object.__setattr__(self, "rgb", _frozen(self.rgb))
        object.__setattr__(self, "depth", _frozen(self.depth))

    def camera_motion(self, earlier: "Frame") -> NDArray[np.float64] | None:
        """cam_from_earlier_cam (4, 4): takes what stands still from an earlier frame into this one, or None."""
        if self.fixed_from_cam is None or earlier.fixed_from_cam is None:
            return None
        return inverse(self.fixed_from_cam) @ earlier.fixed_from_cam


class Reason(str, Enum):
    """Why a stage has no answer, or why the state changed. The value is what is published."""

    NO_CANDIDATE = "no_candidate"
    VERIFIER_REJECTED = "verifier_rejected"
    UNCERTAIN = "uncertain"
    MASK_EMPTY = "mask_empty"
    MASK_WITHOUT_DEPTH = "mask_without_depth"
    NO_DEPTH = "no_depth"
    NO_COLOR = "no_color"
    NOT_CONVERGED = "not_converged"
    OUT_OF_VIEW = "out_of_view"
    OCCLUDED = "occluded"
    DEPTH_DISAGREES = "depth_disagrees"
    CONTOUR_DISAGREES = "contour_disagrees"
    COLOR_DISAGREES = "color_disagrees"
    CROP_DISAGREES = "crop_disagrees"
    AMBIGUOUS = "ambiguous"
    PLACE_TAKEN = "place_taken"
    MOTION_IMPLAUSIBLE = "motion_implausible"
    FROZEN_INPUT = "frozen_input"
    INPUT_TIMEOUT = "input_timeout"
    STARTED = "started"
    FOUND = "found"
    REGISTERED = "registered"
    VERIFIED = "verified"
    CONFIRMED = "confirmed"
    SUSPECT_TIMEOUT = "suspect_timeout"
    NOT_IN_VIEW = "not_in_view"
    BACKOFF_OVER = "backoff_over"
    USER_REREGISTER = "user_reregister"
    USER_RESET = "user_reset"
    USER_DISABLED = "user_disabled"
    USER_ENABLED = "user_enabled"
    STAGE_TIMEOUT = "stage_timeout"
    PUBLISHED = "published"
    NOT_PUBLISHED = "not_published"


@dataclass(frozen=True, eq=False, kw_only=True)
class Hint:
    """What a user or another system knows about where the object is; all optional.

    Attributes:
      mask: (H, W) bool, modal. box: (x0, y0, x1, y1) half-open [px]. point: (u, v) [px].
      cam_from_obj: last known pose; the search looks near its rotation first.
    """

    mask: NDArray[np.bool_] | None = None
    box: tuple[float, float, float, float] | None = None
    point: tuple[float, float] | None = None
    cam_from_obj: NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Localization:
    """Where the object is in one frame.

    Attributes:
      mask: (H, W) bool, modal (visible pixels only).
      cam_from_objs: (K, 4, 4) pose hypotheses, best first; K may be 0 when only a mask is known.
      probability: calibrated probability in [0, 1] that this is the object.
    """

    object_name: str
    stamp_ns: int
    mask: NDArray[np.bool_]
    cam_from_objs: NDArray[np.float64]
    probability: float

    def __post_init__(self) -> None:
        if self.mask.dtype != np.bool_ or not self.mask.any():
            raise InputError(f"a Localization needs a non-empty bool mask for {self.object_name}; use NotFound instead")
        object.__setattr__(self, "mask", _frozen(self.mask))


@dataclass(frozen=True, kw_only=True)
class NotFound:
    """The object was searched and is not (certainly) in the picture."""

    object_name: str
    stamp_ns: int
    reason: Reason
    detail: str = ""
    probability: float = 0.0


@dataclass(frozen=True, eq=False, kw_only=True)
class Evidence:
    """What one render-and-compare of a pose against a frame says. nan = could not be measured.

    Shares are in [0, 1]. `visible` px: model silhouette px inside the image.

    Attributes:
      inside: share of the silhouette inside the image.
      inlier: share of visible px whose depth agrees with the model.
      occluded: share of visible px with something in front of the model.
      behind: share of visible px where the camera sees through the model (free-space violation).
      missing: share of visible px without depth.
      residual: median |depth error| of inliers / diameter.
      fit: mean agreement of the inliers in depth and normal, in [0, 1].
      normal: mean cosine between model and measured normals over inliers.
      contour: share of unoccluded contour px with background behind them, of those with depth on either side; px with
        an image edge but no background count half.
      edge: share of unoccluded contour px with an aligned image edge.
      seam: length of borders where the measured surface slides from agreeing to contradicting without a step,
        in square roots of the silhouette area; a real occluder has a step.
      color: correlation (ZNCC) of model and image colour over inliers, in [-1, 1]; nan for uncoloured meshes.
      picture: as `color`, over all px that depth does not contradict: inliers and px without depth.
      contrast: standard deviation of the model's log colour over those px: how much `color` and `picture` can say.
      hue: overlap of model and image chroma histograms over inliers; nan for uncoloured meshes.
      innovation: pose change against the motion prediction / diameter (tracking only).
      region: how clearly the tracker's colours put the border of the object where the pose says: mean probability of
        "object" just inside minus just outside the outline, in [-1, 1] (tracking only).
      condition: standard deviation of the pose error along the direction that the tracker holds least / diameter
        (tracking only).
      margin: by how much [log-odds] the pose ranks above its best decoy: itself shifted, turned or mirrored
        (registration only).
      learned: log-odds, by the monitor's small network, that the live crop shows what the pose says (tracking only).
      similarity: logit of the pair model that the live crop looks like those that were trusted, mean over its memory
        (tracking with monitor.pair only).
      twin: how much better [log-odds, added up over frames] another turn of the same shape has looked (tracking only).
    """

    inside: float = float("nan")
    inlier: float = float("nan")
    occluded: float = float("nan")
    behind: float = float("nan")
    missing: float = float("nan")
    residual: float = float("nan")
    fit: float = float("nan")
    normal: float = float("nan")
    contour: float = float("nan")
    edge: float = float("nan")
    seam: float = float("nan")
    color: float = float("nan")
    picture: float = float("nan")
    contrast: float = float("nan")
    hue: float = float("nan")
    innovation: float = float("nan")
    region: float = float("nan")
    condition: float = float("nan")
    margin: float = float("nan")
    learned: float = float("nan")
    similarity: float = float("nan")
    twin: float = float("nan")

    def as_dict(self) -> dict[str, float]:
        return {f.name: float(getattr(self, f.name)) for f in fields(self)}


@dataclass(frozen=True, eq=False, kw_only=True)
class Registration:
    """A pose found from scratch, already verified.

    Attributes:
      cam_from_obj: (4, 4) mesh frame -> optical frame [m].
      covariance: (6, 6), (x, y, z, rotX, rotY, rotZ) in the camera frame [m^2, rad^2], left-invariant.
      probability: calibrated probability that the pose is right (within 0.1 diameter).
    """

    object_name: str
    stamp_ns: int
    cam_from_obj: NDArray[np.float64]
    covariance: NDArray[np.float64]
    probability: float
    evidence: Evidence

    def __post_init__(self) -> None:
        require_pose(self.cam_from_obj, f"registration of {self.object_name}")


@dataclass(frozen=True, eq=False, kw_only=True)
class RegistrationFailure:
    """No pose was good enough; the reason and the best attempt's evidence say why."""

    object_name: str
    stamp_ns: int
    reason: Reason
    detail: str = ""
    probability: float = 0.0
    evidence: Evidence = field(default_factory=Evidence)


@dataclass(frozen=True, eq=False, kw_only=True)
class Track:
    """Pose of one tracked frame, before the monitor has judged it.

    Attributes:
      cam_from_obj, covariance: as in Registration.
      innovation: pose change against the motion prediction / diameter.
      coasting: True when the image could not correct the motion prediction.
      missing: modalities that said nothing about the object: NO_DEPTH, NO_COLOR.
      region: as in Evidence; nan while coasting, and where the picture shows no colours.
    """

    object_name: str
    stamp_ns: int
    cam_from_obj: NDArray[np.float64]
    covariance: NDArray[np.float64]
    innovation: float
    coasting: bool = False
    missing: tuple[Reason, ...] = ()
    region: float = float("nan")

    def __post_init__(self) -> None:
        require_pose(self.cam_from_obj, f"track of {self.object_name}")


@dataclass(frozen=True, kw_only=True)
class TrackFailure:
    """The tracker has no pose for this frame (left the image, behind the camera, diverged)."""

    object_name: str
    stamp_ns: int
    reason: Reason
    detail: str = ""


class Verdict(str, Enum):
    """What the monitor (TOM) says about one tracked pose."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    OCCLUDED = "occluded"
    LOST = "lost"
    FROZEN_INPUT = "frozen_input"


@dataclass(frozen=True, eq=False, kw_only=True)
class Judgement:
    """The monitor's answer for one tracked frame.

    Attributes:
      probability: calibrated probability that the pose is within 0.1 diameter.
      reason: the strongest evidence behind a verdict that is not HEALTHY.
    """

    object_name: str
    stamp_ns: int
    verdict: Verdict
    probability: float
    reason: Reason
    evidence: Evidence


@dataclass(frozen=True, kw_only=True)
class Transition:
    """One state change of one object."""

    object_name: str
    stamp_ns: int
    before: str
    after: str
    reason: Reason


@dataclass(frozen=True, eq=False, kw_only=True)
class ObjectOutput:
    """What is published about one object for one frame.

    Attributes:
      state: name of the recovery state. cam_from_obj, covariance: None when nothing may be published.
      trusted: the pose may be used. coasting: it is not trusted just now, and held with grown covariance.
    """

    object_name: str
    stamp_ns: int
    state: str
    reason: Reason
    cam_from_obj: NDArray[np.float64] | None
    covariance: NDArray[np.float64] | None
    probability: float
    trusted: bool
    coasting: bool
    evidence: Evidence


@dataclass(frozen=True, eq=False, kw_only=True)
class StepOutput:
    """Everything one frame produced. stage_ms: stage name (localize, register, refine, track, monitor, total) -> ms."""

    stamp_ns: int
    objects: tuple[ObjectOutput, ...]
    transitions: tuple[Transition, ...]
    stage_ms: dict[str, float]
