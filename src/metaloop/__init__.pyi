# The public names: what users import and configs name. Loaded by __init__.py when asked for.
from .adapted import Adapted as Adapted
from .adapters import lora as lora
from .algorithms import (
    R2D2 as R2D2,
    Algorithm as Algorithm,
    AnnealedMultiStepLoss as AnnealedMultiStepLoss,
    GradientBased as GradientBased,
    MultiStepLoss as MultiStepLoss,
    OuterLoss as OuterLoss,
    Pretrain as Pretrain,
    Prototypical as Prototypical,
    QueryLoss as QueryLoss,
    SquaredDistance as SquaredDistance,
    anil as anil,
    boil as boil,
    cavia as cavia,
    fomaml as fomaml,
    imaml as imaml,
    maml as maml,
    maml_plus_plus as maml_plus_plus,
    meta_curvature as meta_curvature,
    meta_sgd as meta_sgd,
    pmf as pmf,
    pretrain as pretrain,
    proto_maml as proto_maml,
    reptile as reptile,
)
from .callbacks import (
    BestCheckpoint as BestCheckpoint,
    Pictures as Pictures,
    Progress as Progress,
    StopWhenDiverged as StopWhenDiverged,
)
from .episode import Episode as Episode, Examples as Examples
from .errors import Diverged as Diverged, UserError as UserError
from .fit import fit as fit
from .inner_loop import (
    Adagrad as Adagrad,
    Adam as Adam,
    AdamW as AdamW,
    ClipNorm as ClipNorm,
    ClipValue as ClipValue,
    Curvature as Curvature,
    GroupedStepSize as GroupedStepSize,
    LearnedStepSize as LearnedStepSize,
    Memory as Memory,
    Moment as Moment,
    Momentum as Momentum,
    Newton as Newton,
    Objective as Objective,
    Parameters as Parameters,
    Report as Report,
    RMSprop as RMSprop,
    ScheduledStepSize as ScheduledStepSize,
    StepSize as StepSize,
    StepSizeDecay as StepSizeDecay,
    TowardsTheta as TowardsTheta,
    Transformation as Transformation,
    Update as Update,
    WeightDecay as WeightDecay,
)
from .learner import Learner as Learner
from .loggers import (
    MetricsCsv as MetricsCsv,
    OutageProofWandbLogger as OutageProofWandbLogger,
    ResumableTensorBoardLogger as ResumableTensorBoardLogger,
)
from .meta_gradient import Verdict as Verdict, check as check
from .models import (
    MLP as MLP,
    Conv4 as Conv4,
    FourierFeatures as FourierFeatures,
    HFEncoder as HFEncoder,
    HFImageEncoder as HFImageEncoder,
    ResNet12 as ResNet12,
    Siren as Siren,
    WideResNet as WideResNet,
    WordAttention as WordAttention,
)
from .tasks import (
    CUB as CUB,
    FC100 as FC100,
    ArrayClasses as ArrayClasses,
    ArrayRegression as ArrayRegression,
    Augmentation as Augmentation,
    CifarFS as CifarFS,
    ClassificationTask as ClassificationTask,
    Harmonic as Harmonic,
    ImageClasses as ImageClasses,
    ImageDataset as ImageDataset,
    ImageField as ImageField,
    ImageFolder as ImageFolder,
    ImageStore as ImageStore,
    LabelledDataset as LabelledDataset,
    Metric as Metric,
    MiniImageNet as MiniImageNet,
    Mixture as Mixture,
    Omniglot as Omniglot,
    PointNavigation as PointNavigation,
    RandomStreams as RandomStreams,
    RegressionTask as RegressionTask,
    RowClasses as RowClasses,
    SentenceClasses as SentenceClasses,
    Shapes as Shapes,
    Sinusoid as Sinusoid,
    SinusoidLine as SinusoidLine,
    Split as Split,
    Task as Task,
    TieredImageNet as TieredImageNet,
    arrays as arrays,
    store_arrays as store_arrays,
)
from .training import (
    EpisodicDataModule as EpisodicDataModule,
    Estimate as Estimate,
    MetaBatch as MetaBatch,
    MetaLearner as MetaLearner,
    estimate as estimate,
)

__all__: list[str]
__version__: str
RENAMED: dict[str, str]
