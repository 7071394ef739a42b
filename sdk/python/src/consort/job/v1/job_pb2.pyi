from consort.limits.v1 import limits_pb2 as _limits_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class MissingValues(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MISSING_VALUES_UNSPECIFIED: _ClassVar[MissingValues]
    MISSING_VALUES_REFUSE: _ClassVar[MissingValues]
    MISSING_VALUES_DROP_ROW: _ClassVar[MissingValues]

class Loss(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LOSS_UNSPECIFIED: _ClassVar[Loss]
    LOSS_BINARY_CROSS_ENTROPY: _ClassVar[Loss]
    LOSS_CROSS_ENTROPY: _ClassVar[Loss]
    LOSS_SQUARED_ERROR: _ClassVar[Loss]
    LOSS_POISSON: _ClassVar[Loss]

class Rotation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROTATION_UNSPECIFIED: _ClassVar[Rotation]
    ROTATION_NONE: _ClassVar[Rotation]
    ROTATION_HADAMARD: _ClassVar[Rotation]

class JobState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_STATE_UNSPECIFIED: _ClassVar[JobState]
    JOB_STATE_VOTING: _ClassVar[JobState]
    JOB_STATE_RUNNING: _ClassVar[JobState]
    JOB_STATE_COMPLETED: _ClassVar[JobState]
    JOB_STATE_FAILED: _ClassVar[JobState]
    JOB_STATE_CANCELLED: _ClassVar[JobState]
MISSING_VALUES_UNSPECIFIED: MissingValues
MISSING_VALUES_REFUSE: MissingValues
MISSING_VALUES_DROP_ROW: MissingValues
LOSS_UNSPECIFIED: Loss
LOSS_BINARY_CROSS_ENTROPY: Loss
LOSS_CROSS_ENTROPY: Loss
LOSS_SQUARED_ERROR: Loss
LOSS_POISSON: Loss
ROTATION_UNSPECIFIED: Rotation
ROTATION_NONE: Rotation
ROTATION_HADAMARD: Rotation
JOB_STATE_UNSPECIFIED: JobState
JOB_STATE_VOTING: JobState
JOB_STATE_RUNNING: JobState
JOB_STATE_COMPLETED: JobState
JOB_STATE_FAILED: JobState
JOB_STATE_CANCELLED: JobState

class JobSpec(_message.Message):
    __slots__ = ("name", "purpose", "dataset", "members", "data", "model", "dp_fedsgd", "fedavg", "stats", "evaluate", "privacy", "aggregation", "deadlines", "data_access", "requirements")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DP_FEDSGD_FIELD_NUMBER: _ClassVar[int]
    FEDAVG_FIELD_NUMBER: _ClassVar[int]
    STATS_FIELD_NUMBER: _ClassVar[int]
    EVALUATE_FIELD_NUMBER: _ClassVar[int]
    PRIVACY_FIELD_NUMBER: _ClassVar[int]
    AGGREGATION_FIELD_NUMBER: _ClassVar[int]
    DEADLINES_FIELD_NUMBER: _ClassVar[int]
    DATA_ACCESS_FIELD_NUMBER: _ClassVar[int]
    REQUIREMENTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    purpose: str
    dataset: str
    members: _containers.RepeatedScalarFieldContainer[str]
    data: DataSchema
    model: ModelSpec
    dp_fedsgd: DpFedSgd
    fedavg: FedAvg
    stats: Stats
    evaluate: Evaluate
    privacy: PrivacySpec
    aggregation: AggregationSpec
    deadlines: DeadlineSpec
    data_access: DataAccessSpec
    requirements: RequirementsSpec
    def __init__(self, name: _Optional[str] = ..., purpose: _Optional[str] = ..., dataset: _Optional[str] = ..., members: _Optional[_Iterable[str]] = ..., data: _Optional[_Union[DataSchema, _Mapping]] = ..., model: _Optional[_Union[ModelSpec, _Mapping]] = ..., dp_fedsgd: _Optional[_Union[DpFedSgd, _Mapping]] = ..., fedavg: _Optional[_Union[FedAvg, _Mapping]] = ..., stats: _Optional[_Union[Stats, _Mapping]] = ..., evaluate: _Optional[_Union[Evaluate, _Mapping]] = ..., privacy: _Optional[_Union[PrivacySpec, _Mapping]] = ..., aggregation: _Optional[_Union[AggregationSpec, _Mapping]] = ..., deadlines: _Optional[_Union[DeadlineSpec, _Mapping]] = ..., data_access: _Optional[_Union[DataAccessSpec, _Mapping]] = ..., requirements: _Optional[_Union[RequirementsSpec, _Mapping]] = ...) -> None: ...

class RequirementsSpec(_message.Message):
    __slots__ = ("memory_bytes", "storage_bytes", "network_bits_per_second", "genuine_hardware", "metrics")
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    STORAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    NETWORK_BITS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    GENUINE_HARDWARE_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    memory_bytes: int
    storage_bytes: int
    network_bits_per_second: int
    genuine_hardware: bool
    metrics: bool
    def __init__(self, memory_bytes: _Optional[int] = ..., storage_bytes: _Optional[int] = ..., network_bits_per_second: _Optional[int] = ..., genuine_hardware: _Optional[bool] = ..., metrics: _Optional[bool] = ...) -> None: ...

class DataAccessSpec(_message.Message):
    __slots__ = ("encryption",)
    ENCRYPTION_FIELD_NUMBER: _ClassVar[int]
    encryption: EncryptionSpec
    def __init__(self, encryption: _Optional[_Union[EncryptionSpec, _Mapping]] = ...) -> None: ...

class EncryptionSpec(_message.Message):
    __slots__ = ("key_rotation_days",)
    KEY_ROTATION_DAYS_FIELD_NUMBER: _ClassVar[int]
    key_rotation_days: int
    def __init__(self, key_rotation_days: _Optional[int] = ...) -> None: ...

class DataSchema(_message.Message):
    __slots__ = ("features", "target", "missing")
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    features: _containers.RepeatedCompositeFieldContainer[FeatureSpec]
    target: TargetSpec
    missing: MissingValues
    def __init__(self, features: _Optional[_Iterable[_Union[FeatureSpec, _Mapping]]] = ..., target: _Optional[_Union[TargetSpec, _Mapping]] = ..., missing: _Optional[_Union[MissingValues, str]] = ...) -> None: ...

class FeatureSpec(_message.Message):
    __slots__ = ("numeric", "one_hot")
    NUMERIC_FIELD_NUMBER: _ClassVar[int]
    ONE_HOT_FIELD_NUMBER: _ClassVar[int]
    numeric: NumericFeature
    one_hot: OneHotFeature
    def __init__(self, numeric: _Optional[_Union[NumericFeature, _Mapping]] = ..., one_hot: _Optional[_Union[OneHotFeature, _Mapping]] = ...) -> None: ...

class NumericFeature(_message.Message):
    __slots__ = ("column", "center", "scale", "clip")
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    CENTER_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    CLIP_FIELD_NUMBER: _ClassVar[int]
    column: str
    center: float
    scale: float
    clip: float
    def __init__(self, column: _Optional[str] = ..., center: _Optional[float] = ..., scale: _Optional[float] = ..., clip: _Optional[float] = ...) -> None: ...

class OneHotFeature(_message.Message):
    __slots__ = ("column", "levels")
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    LEVELS_FIELD_NUMBER: _ClassVar[int]
    column: str
    levels: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, column: _Optional[str] = ..., levels: _Optional[_Iterable[str]] = ...) -> None: ...

class TargetSpec(_message.Message):
    __slots__ = ("column", "positive_above")
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    POSITIVE_ABOVE_FIELD_NUMBER: _ClassVar[int]
    column: str
    positive_above: float
    def __init__(self, column: _Optional[str] = ..., positive_above: _Optional[float] = ...) -> None: ...

class ModelSpec(_message.Message):
    __slots__ = ("layers", "loss", "seed")
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    layers: _containers.RepeatedCompositeFieldContainer[Layer]
    loss: Loss
    seed: bytes
    def __init__(self, layers: _Optional[_Iterable[_Union[Layer, _Mapping]]] = ..., loss: _Optional[_Union[Loss, str]] = ..., seed: _Optional[bytes] = ...) -> None: ...

class Layer(_message.Message):
    __slots__ = ("dense", "relu", "tanh")
    DENSE_FIELD_NUMBER: _ClassVar[int]
    RELU_FIELD_NUMBER: _ClassVar[int]
    TANH_FIELD_NUMBER: _ClassVar[int]
    dense: Dense
    relu: Relu
    tanh: Tanh
    def __init__(self, dense: _Optional[_Union[Dense, _Mapping]] = ..., relu: _Optional[_Union[Relu, _Mapping]] = ..., tanh: _Optional[_Union[Tanh, _Mapping]] = ...) -> None: ...

class Dense(_message.Message):
    __slots__ = ("outputs",)
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    outputs: int
    def __init__(self, outputs: _Optional[int] = ...) -> None: ...

class Relu(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Tanh(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DpFedSgd(_message.Message):
    __slots__ = ("rounds", "clip", "learning_rate", "momentum", "divisor", "loss_weight", "max_records_per_member", "server_optimizer", "schedule", "sampling")
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    CLIP_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    MOMENTUM_FIELD_NUMBER: _ClassVar[int]
    DIVISOR_FIELD_NUMBER: _ClassVar[int]
    LOSS_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    MAX_RECORDS_PER_MEMBER_FIELD_NUMBER: _ClassVar[int]
    SERVER_OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    rounds: int
    clip: float
    learning_rate: float
    momentum: float
    divisor: float
    loss_weight: float
    max_records_per_member: int
    server_optimizer: ServerOptimizer
    schedule: Schedule
    sampling: Sampling
    def __init__(self, rounds: _Optional[int] = ..., clip: _Optional[float] = ..., learning_rate: _Optional[float] = ..., momentum: _Optional[float] = ..., divisor: _Optional[float] = ..., loss_weight: _Optional[float] = ..., max_records_per_member: _Optional[int] = ..., server_optimizer: _Optional[_Union[ServerOptimizer, _Mapping]] = ..., schedule: _Optional[_Union[Schedule, _Mapping]] = ..., sampling: _Optional[_Union[Sampling, _Mapping]] = ...) -> None: ...

class Sampling(_message.Message):
    __slots__ = ("rate", "max_batch")
    RATE_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_FIELD_NUMBER: _ClassVar[int]
    rate: float
    max_batch: int
    def __init__(self, rate: _Optional[float] = ..., max_batch: _Optional[int] = ...) -> None: ...

class FedAvg(_message.Message):
    __slots__ = ("rounds", "local_steps", "clip", "local_learning_rate", "local_divisor", "loss_weight", "max_records_per_member", "update_clip", "value_range", "value_bits", "rotation", "learning_rate", "momentum", "server_optimizer", "schedule", "local_schedule", "proximal", "scaffold")
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    LOCAL_STEPS_FIELD_NUMBER: _ClassVar[int]
    CLIP_FIELD_NUMBER: _ClassVar[int]
    LOCAL_LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    LOCAL_DIVISOR_FIELD_NUMBER: _ClassVar[int]
    LOSS_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    MAX_RECORDS_PER_MEMBER_FIELD_NUMBER: _ClassVar[int]
    UPDATE_CLIP_FIELD_NUMBER: _ClassVar[int]
    VALUE_RANGE_FIELD_NUMBER: _ClassVar[int]
    VALUE_BITS_FIELD_NUMBER: _ClassVar[int]
    ROTATION_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    MOMENTUM_FIELD_NUMBER: _ClassVar[int]
    SERVER_OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    LOCAL_SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    PROXIMAL_FIELD_NUMBER: _ClassVar[int]
    SCAFFOLD_FIELD_NUMBER: _ClassVar[int]
    rounds: int
    local_steps: int
    clip: float
    local_learning_rate: float
    local_divisor: float
    loss_weight: float
    max_records_per_member: int
    update_clip: float
    value_range: float
    value_bits: int
    rotation: Rotation
    learning_rate: float
    momentum: float
    server_optimizer: ServerOptimizer
    schedule: Schedule
    local_schedule: Schedule
    proximal: float
    scaffold: bool
    def __init__(self, rounds: _Optional[int] = ..., local_steps: _Optional[int] = ..., clip: _Optional[float] = ..., local_learning_rate: _Optional[float] = ..., local_divisor: _Optional[float] = ..., loss_weight: _Optional[float] = ..., max_records_per_member: _Optional[int] = ..., update_clip: _Optional[float] = ..., value_range: _Optional[float] = ..., value_bits: _Optional[int] = ..., rotation: _Optional[_Union[Rotation, str]] = ..., learning_rate: _Optional[float] = ..., momentum: _Optional[float] = ..., server_optimizer: _Optional[_Union[ServerOptimizer, _Mapping]] = ..., schedule: _Optional[_Union[Schedule, _Mapping]] = ..., local_schedule: _Optional[_Union[Schedule, _Mapping]] = ..., proximal: _Optional[float] = ..., scaffold: _Optional[bool] = ...) -> None: ...

class ServerOptimizer(_message.Message):
    __slots__ = ("fedadam", "fedyogi")
    FEDADAM_FIELD_NUMBER: _ClassVar[int]
    FEDYOGI_FIELD_NUMBER: _ClassVar[int]
    fedadam: AdaptiveOptimizer
    fedyogi: AdaptiveOptimizer
    def __init__(self, fedadam: _Optional[_Union[AdaptiveOptimizer, _Mapping]] = ..., fedyogi: _Optional[_Union[AdaptiveOptimizer, _Mapping]] = ...) -> None: ...

class AdaptiveOptimizer(_message.Message):
    __slots__ = ("beta1", "beta2", "tau")
    BETA1_FIELD_NUMBER: _ClassVar[int]
    BETA2_FIELD_NUMBER: _ClassVar[int]
    TAU_FIELD_NUMBER: _ClassVar[int]
    beta1: float
    beta2: float
    tau: float
    def __init__(self, beta1: _Optional[float] = ..., beta2: _Optional[float] = ..., tau: _Optional[float] = ...) -> None: ...

class Schedule(_message.Message):
    __slots__ = ("warmup_rounds", "step", "cosine")
    WARMUP_ROUNDS_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    COSINE_FIELD_NUMBER: _ClassVar[int]
    warmup_rounds: int
    step: StepDecay
    cosine: CosineDecay
    def __init__(self, warmup_rounds: _Optional[int] = ..., step: _Optional[_Union[StepDecay, _Mapping]] = ..., cosine: _Optional[_Union[CosineDecay, _Mapping]] = ...) -> None: ...

class StepDecay(_message.Message):
    __slots__ = ("every", "factor")
    EVERY_FIELD_NUMBER: _ClassVar[int]
    FACTOR_FIELD_NUMBER: _ClassVar[int]
    every: int
    factor: float
    def __init__(self, every: _Optional[int] = ..., factor: _Optional[float] = ...) -> None: ...

class CosineDecay(_message.Message):
    __slots__ = ("last",)
    LAST_FIELD_NUMBER: _ClassVar[int]
    last: float
    def __init__(self, last: _Optional[float] = ...) -> None: ...

class Stats(_message.Message):
    __slots__ = ("queries", "count_weight", "max_records_per_member")
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    COUNT_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    MAX_RECORDS_PER_MEMBER_FIELD_NUMBER: _ClassVar[int]
    queries: _containers.RepeatedCompositeFieldContainer[StatsQuery]
    count_weight: float
    max_records_per_member: int
    def __init__(self, queries: _Optional[_Iterable[_Union[StatsQuery, _Mapping]]] = ..., count_weight: _Optional[float] = ..., max_records_per_member: _Optional[int] = ...) -> None: ...

class StatsQuery(_message.Message):
    __slots__ = ("column", "weight", "mean", "variance", "histogram", "quantiles", "categories")
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    VARIANCE_FIELD_NUMBER: _ClassVar[int]
    HISTOGRAM_FIELD_NUMBER: _ClassVar[int]
    QUANTILES_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    column: str
    weight: float
    mean: MeanQuery
    variance: VarianceQuery
    histogram: HistogramQuery
    quantiles: QuantilesQuery
    categories: CategoriesQuery
    def __init__(self, column: _Optional[str] = ..., weight: _Optional[float] = ..., mean: _Optional[_Union[MeanQuery, _Mapping]] = ..., variance: _Optional[_Union[VarianceQuery, _Mapping]] = ..., histogram: _Optional[_Union[HistogramQuery, _Mapping]] = ..., quantiles: _Optional[_Union[QuantilesQuery, _Mapping]] = ..., categories: _Optional[_Union[CategoriesQuery, _Mapping]] = ...) -> None: ...

class MeanQuery(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class VarianceQuery(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class HistogramQuery(_message.Message):
    __slots__ = ("bins",)
    BINS_FIELD_NUMBER: _ClassVar[int]
    bins: int
    def __init__(self, bins: _Optional[int] = ...) -> None: ...

class QuantilesQuery(_message.Message):
    __slots__ = ("bins", "at")
    BINS_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    bins: int
    at: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, bins: _Optional[int] = ..., at: _Optional[_Iterable[float]] = ...) -> None: ...

class CategoriesQuery(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Evaluate(_message.Message):
    __slots__ = ("model_of", "parameters", "threshold", "bins", "weights", "max_records_per_member")
    MODEL_OF_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    BINS_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    MAX_RECORDS_PER_MEMBER_FIELD_NUMBER: _ClassVar[int]
    model_of: str
    parameters: bytes
    threshold: float
    bins: int
    weights: EvaluateWeights
    max_records_per_member: int
    def __init__(self, model_of: _Optional[str] = ..., parameters: _Optional[bytes] = ..., threshold: _Optional[float] = ..., bins: _Optional[int] = ..., weights: _Optional[_Union[EvaluateWeights, _Mapping]] = ..., max_records_per_member: _Optional[int] = ...) -> None: ...

class EvaluateWeights(_message.Message):
    __slots__ = ("count", "confusion", "scores", "loss")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    CONFUSION_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    count: float
    confusion: float
    scores: float
    loss: float
    def __init__(self, count: _Optional[float] = ..., confusion: _Optional[float] = ..., scores: _Optional[float] = ..., loss: _Optional[float] = ...) -> None: ...

class PrivacySpec(_message.Message):
    __slots__ = ("epsilon", "delta", "c_noise")
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    C_NOISE_FIELD_NUMBER: _ClassVar[int]
    epsilon: float
    delta: float
    c_noise: int
    def __init__(self, epsilon: _Optional[float] = ..., delta: _Optional[float] = ..., c_noise: _Optional[int] = ...) -> None: ...

class AggregationSpec(_message.Message):
    __slots__ = ("colluders", "minimum", "dropouts")
    COLLUDERS_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    DROPOUTS_FIELD_NUMBER: _ClassVar[int]
    colluders: int
    minimum: int
    dropouts: int
    def __init__(self, colluders: _Optional[int] = ..., minimum: _Optional[int] = ..., dropouts: _Optional[int] = ...) -> None: ...

class DeadlineSpec(_message.Message):
    __slots__ = ("voting_ms", "joining_ms", "sharing_ms", "collecting_ms", "confirming_ms", "unmasking_ms")
    VOTING_MS_FIELD_NUMBER: _ClassVar[int]
    JOINING_MS_FIELD_NUMBER: _ClassVar[int]
    SHARING_MS_FIELD_NUMBER: _ClassVar[int]
    COLLECTING_MS_FIELD_NUMBER: _ClassVar[int]
    CONFIRMING_MS_FIELD_NUMBER: _ClassVar[int]
    UNMASKING_MS_FIELD_NUMBER: _ClassVar[int]
    voting_ms: int
    joining_ms: int
    sharing_ms: int
    collecting_ms: int
    confirming_ms: int
    unmasking_ms: int
    def __init__(self, voting_ms: _Optional[int] = ..., joining_ms: _Optional[int] = ..., sharing_ms: _Optional[int] = ..., collecting_ms: _Optional[int] = ..., confirming_ms: _Optional[int] = ..., unmasking_ms: _Optional[int] = ...) -> None: ...

class PlanSpec(_message.Message):
    __slots__ = ("sigma", "grid_bits", "member_variance", "noise_bound", "width_bits", "epsilon", "epsilon_by_coalition", "epsilon_rdp", "cohort", "colluders", "threshold", "minimum", "noise_colluders", "dropouts", "reach", "witnesses")
    SIGMA_FIELD_NUMBER: _ClassVar[int]
    GRID_BITS_FIELD_NUMBER: _ClassVar[int]
    MEMBER_VARIANCE_FIELD_NUMBER: _ClassVar[int]
    NOISE_BOUND_FIELD_NUMBER: _ClassVar[int]
    WIDTH_BITS_FIELD_NUMBER: _ClassVar[int]
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    EPSILON_BY_COALITION_FIELD_NUMBER: _ClassVar[int]
    EPSILON_RDP_FIELD_NUMBER: _ClassVar[int]
    COHORT_FIELD_NUMBER: _ClassVar[int]
    COLLUDERS_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    NOISE_COLLUDERS_FIELD_NUMBER: _ClassVar[int]
    DROPOUTS_FIELD_NUMBER: _ClassVar[int]
    REACH_FIELD_NUMBER: _ClassVar[int]
    WITNESSES_FIELD_NUMBER: _ClassVar[int]
    sigma: float
    grid_bits: int
    member_variance: int
    noise_bound: int
    width_bits: int
    epsilon: float
    epsilon_by_coalition: _containers.RepeatedScalarFieldContainer[float]
    epsilon_rdp: float
    cohort: int
    colluders: int
    threshold: int
    minimum: int
    noise_colluders: int
    dropouts: int
    reach: int
    witnesses: int
    def __init__(self, sigma: _Optional[float] = ..., grid_bits: _Optional[int] = ..., member_variance: _Optional[int] = ..., noise_bound: _Optional[int] = ..., width_bits: _Optional[int] = ..., epsilon: _Optional[float] = ..., epsilon_by_coalition: _Optional[_Iterable[float]] = ..., epsilon_rdp: _Optional[float] = ..., cohort: _Optional[int] = ..., colluders: _Optional[int] = ..., threshold: _Optional[int] = ..., minimum: _Optional[int] = ..., noise_colluders: _Optional[int] = ..., dropouts: _Optional[int] = ..., reach: _Optional[int] = ..., witnesses: _Optional[int] = ...) -> None: ...

class MemberProgress(_message.Message):
    __slots__ = ("organisation", "connected", "phase", "sent_bytes", "convicted_of", "quarantined_for", "quarantined_since_unix_ms")
    ORGANISATION_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    SENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    CONVICTED_OF_FIELD_NUMBER: _ClassVar[int]
    QUARANTINED_FOR_FIELD_NUMBER: _ClassVar[int]
    QUARANTINED_SINCE_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    organisation: str
    connected: bool
    phase: str
    sent_bytes: int
    convicted_of: str
    quarantined_for: str
    quarantined_since_unix_ms: int
    def __init__(self, organisation: _Optional[str] = ..., connected: _Optional[bool] = ..., phase: _Optional[str] = ..., sent_bytes: _Optional[int] = ..., convicted_of: _Optional[str] = ..., quarantined_for: _Optional[str] = ..., quarantined_since_unix_ms: _Optional[int] = ...) -> None: ...

class RoundSummary(_message.Message):
    __slots__ = ("round", "attempt", "survivors", "noised_loss", "epsilon_spent", "phase_ms", "aborted", "survivor_count")
    class PhaseMsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    SURVIVORS_FIELD_NUMBER: _ClassVar[int]
    NOISED_LOSS_FIELD_NUMBER: _ClassVar[int]
    EPSILON_SPENT_FIELD_NUMBER: _ClassVar[int]
    PHASE_MS_FIELD_NUMBER: _ClassVar[int]
    ABORTED_FIELD_NUMBER: _ClassVar[int]
    SURVIVOR_COUNT_FIELD_NUMBER: _ClassVar[int]
    round: int
    attempt: int
    survivors: _containers.RepeatedScalarFieldContainer[str]
    noised_loss: float
    epsilon_spent: float
    phase_ms: _containers.ScalarMap[str, int]
    aborted: str
    survivor_count: int
    def __init__(self, round: _Optional[int] = ..., attempt: _Optional[int] = ..., survivors: _Optional[_Iterable[str]] = ..., noised_loss: _Optional[float] = ..., epsilon_spent: _Optional[float] = ..., phase_ms: _Optional[_Mapping[str, int]] = ..., aborted: _Optional[str] = ..., survivor_count: _Optional[int] = ...) -> None: ...

class Job(_message.Message):
    __slots__ = ("id", "spec", "plan", "contract", "state", "reason", "code", "round", "phase", "members", "rounds", "coordinator_restarts", "model", "dangerous_simulated_attestation", "rounds_ended")
    ID_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    CONTRACT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    COORDINATOR_RESTARTS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DANGEROUS_SIMULATED_ATTESTATION_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_ENDED_FIELD_NUMBER: _ClassVar[int]
    id: str
    spec: JobSpec
    plan: PlanSpec
    contract: str
    state: JobState
    reason: str
    code: str
    round: int
    phase: str
    members: _containers.RepeatedCompositeFieldContainer[MemberProgress]
    rounds: _containers.RepeatedCompositeFieldContainer[RoundSummary]
    coordinator_restarts: int
    model: str
    dangerous_simulated_attestation: bool
    rounds_ended: int
    def __init__(self, id: _Optional[str] = ..., spec: _Optional[_Union[JobSpec, _Mapping]] = ..., plan: _Optional[_Union[PlanSpec, _Mapping]] = ..., contract: _Optional[str] = ..., state: _Optional[_Union[JobState, str]] = ..., reason: _Optional[str] = ..., code: _Optional[str] = ..., round: _Optional[int] = ..., phase: _Optional[str] = ..., members: _Optional[_Iterable[_Union[MemberProgress, _Mapping]]] = ..., rounds: _Optional[_Iterable[_Union[RoundSummary, _Mapping]]] = ..., coordinator_restarts: _Optional[int] = ..., model: _Optional[str] = ..., dangerous_simulated_attestation: _Optional[bool] = ..., rounds_ended: _Optional[int] = ...) -> None: ...

class SubmitJobRequest(_message.Message):
    __slots__ = ("spec", "idempotency_key", "job_json")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    JOB_JSON_FIELD_NUMBER: _ClassVar[int]
    spec: JobSpec
    idempotency_key: str
    job_json: str
    def __init__(self, spec: _Optional[_Union[JobSpec, _Mapping]] = ..., idempotency_key: _Optional[str] = ..., job_json: _Optional[str] = ...) -> None: ...

class SubmitJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class ListJobsRequest(_message.Message):
    __slots__ = ("after",)
    AFTER_FIELD_NUMBER: _ClassVar[int]
    after: str
    def __init__(self, after: _Optional[str] = ...) -> None: ...

class ListJobsResponse(_message.Message):
    __slots__ = ("jobs", "more")
    JOBS_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[Job]
    more: bool
    def __init__(self, jobs: _Optional[_Iterable[_Union[Job, _Mapping]]] = ..., more: _Optional[bool] = ...) -> None: ...

class ListRoundsRequest(_message.Message):
    __slots__ = ("id", "after_round")
    ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_ROUND_FIELD_NUMBER: _ClassVar[int]
    id: str
    after_round: int
    def __init__(self, id: _Optional[str] = ..., after_round: _Optional[int] = ...) -> None: ...

class ListRoundsResponse(_message.Message):
    __slots__ = ("rounds", "more")
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    rounds: _containers.RepeatedCompositeFieldContainer[RoundSummary]
    more: bool
    def __init__(self, rounds: _Optional[_Iterable[_Union[RoundSummary, _Mapping]]] = ..., more: _Optional[bool] = ...) -> None: ...

class ShowJobRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class ShowJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class WatchJobRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class WatchJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class CancelJobRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class CancelJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...
