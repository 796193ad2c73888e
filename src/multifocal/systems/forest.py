"""Forests as arrays, random or boosted: fitted by scikit-learn, kept in safetensors, and asked without it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from pydantic import Discriminator, Field, Tag
from scipy import special

from multifocal.config import Config
from multifocal.errors import UserError
from multifocal.kernels.compiled import compiled, parallel_for
from multifocal.weights import read_weights, write_weights

PACKAGE = "sklearn"  # what fitting needs, and nothing else does
Trees = Annotated[int, Field(ge=1, le=10_000)]
Share = Annotated[float, Field(gt=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
_ROWS = 512  # fewer are not worth a thread
_BLOCK = 256  # rows that stay in the processor's cache while all trees see them


class RandomTrees(Config):
    """How a random forest is grown: trees that do not know of each other, whose answers are averaged.

    Args:
        method: "random"; where nothing is said, it is this one.
        trees: how many.
        max_depth: of each; null grows them until the leaves are pure, or as small as `min_samples_leaf`.
        min_samples_leaf: samples that a leaf holds at least.
        max_features: the share of the features that a split chooses from; null is the square root of their number.
        seed: of the samples that each tree sees, and the features that each split does.

    Source:
        Breiman, Machine Learning 45:5 (2001), doi:10.1023/A:1010933404324.

    Example:
        >>> RandomTrees(trees=20).max_depth
        8
    """

    method: Literal["random"] = "random"
    trees: Trees = 100
    max_depth: int | None = Field(default=8, ge=1)
    min_samples_leaf: int = Field(default=20, ge=1)
    max_features: Share | None = None
    seed: Seed = 0


class ExtraTrees(RandomTrees):
    """How a forest of extremely randomized trees is grown: thresholds are drawn, and every tree sees every sample.

    Smoother in what it answers than a random forest, and often better where samples are few.

    Args:
        method: "extra".
        trees: see `RandomTrees`.
        max_depth: see `RandomTrees`.
        min_samples_leaf: see `RandomTrees`.
        max_features: see `RandomTrees`.
        seed: of the thresholds, and the features that each split does.

    Source:
        Geurts, Ernst, Wehenkel, Machine Learning 63:3 (2006), doi:10.1007/s10994-006-6226-1.

    Example:
        >>> ExtraTrees(method="extra", trees=20).min_samples_leaf
        20
    """

    method: Literal["extra"]  # type: ignore[assignment]  # the same, under another name


class BoostedTrees(Config):
    """How a boosted forest is grown: each tree corrects those before it.

    Args:
        method: "boosted".
        repeats: forests of `trees` each, of successive seeds, whose log-odds are averaged; each sees other features.
        trees: how many.
        learning_rate: the share of its correction that a tree makes.
        max_leaves: of each tree.
        min_samples_leaf: samples that a leaf holds at least.
        max_features: the share of the features that a split chooses from; null is all.
        l2: weight of the leaves' squared values.
        seed: of the features that each split sees, and of the samples that bins are made by.

    Source:
        Friedman, Annals of Statistics 29:1189 (2001), doi:10.1214/aos/1013203451; Ke et al., LightGBM, NeurIPS 2017.

    Example:
        >>> BoostedTrees(method="boosted").max_leaves
        15
    """

    method: Literal["boosted"]
    repeats: int = Field(default=1, ge=1, le=100)
    trees: Trees = 100
    learning_rate: float = Field(default=0.1, gt=0, le=1)
    max_leaves: int = Field(default=15, ge=2, le=255)
    min_samples_leaf: int = Field(default=100, ge=1)
    max_features: Share | None = 0.4
    l2: float = Field(default=1.0, ge=0)
    seed: Seed = 0


def _method(says: Any) -> Any:
    return says.get("method", "random") if isinstance(says, Mapping) else getattr(says, "method", None)


ForestSettings = Annotated[
    Annotated[RandomTrees, Tag("random")]
    | Annotated[ExtraTrees, Tag("extra")]
    | Annotated[BoostedTrees, Tag("boosted")],
    Discriminator(_method),
]


@dataclass(frozen=True, eq=False)
class Forest:
    """Trees of yes and no, one after the other in arrays.

    With v_t(x) the value of the leaf of x in tree t, `p(x) = 1/T Σ_t v_t(x)`, and of boosted trees
    `p(x) = sigmoid(start + Σ_t v_t(x))`.

    Args:
        roots: int32 `(T,)`, where the root of each tree is.
        left: int32 `(nodes,)`, where a node's child is for `x[feature] <= threshold`; -1 in leaves.
        right: int32 `(nodes,)`, where the other one is; -1 in leaves.
        feature: int32 `(nodes,)`, what is compared; 0 in leaves.
        threshold: float64 `(nodes,)`, what with.
        value: float64 `(nodes,)`, the share of yes among the samples at the node; of boosted trees log-odds.
        importance: float64 `(features,)`, how much of the impurity each feature takes away (of boosted trees: how much
            of the loss); the sum is 1, or 0 where no tree splits.
        start: float64 `(1,)`, of boosted trees the log-odds that they start from; `(0,)` of others.

    Example:
        >>> def ints(*values):
        ...     return np.array(values, np.int32)
        >>> stump = Forest(
        ...     ints(0), ints(1, -1, -1), ints(2, -1, -1), ints(0, 0, 0),
        ...     np.array([0.5, 0, 0]), np.array([0.4, 0.1, 0.9]), np.ones(1),
        ... )
        >>> stump.predict(np.array([[0.0], [0.5], [0.6]], np.float32)).tolist()
        [0.1, 0.1, 0.9]
    """

    roots: np.ndarray
    left: np.ndarray
    right: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    value: np.ndarray
    importance: np.ndarray
    start: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def fit(
        cls,
        rows: np.ndarray,
        answers: np.ndarray,
        settings: RandomTrees | ExtraTrees | BoostedTrees,
        *,
        threads: int = 1,
    ) -> Self:
        """Grow a forest with scikit-learn's `RandomForestClassifier`, `ExtraTreesClassifier` or
        `HistGradientBoostingClassifier`.

        The number of threads changes nothing.

        Args:
            rows: float32 `(n, features)`, n at least 1.
            answers: bool `(n,)`.
            settings: how it is grown.
            threads: at most so many; boosted trees are grown by one, because sums of several depend on their number.

        Returns:
            The forest.

        Raises:
            ModuleNotFoundError: scikit-learn, the extra `forest`, is not installed.
        """
        if isinstance(settings, BoostedTrees):
            return cls._boosted(rows, answers, settings)
        from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

        kind = ExtraTreesClassifier if isinstance(settings, ExtraTrees) else RandomForestClassifier
        grown = kind(
            settings.trees,
            max_depth=settings.max_depth,
            min_samples_leaf=settings.min_samples_leaf,
            max_features="sqrt" if settings.max_features is None else settings.max_features,
            random_state=settings.seed,
            n_jobs=threads,
        ).fit(rows, answers)
        trees = [estimator.tree_ for estimator in grown.estimators_]
        roots = np.cumsum([0, *(tree.node_count for tree in trees[:-1])])
        yes = np.flatnonzero(grown.classes_)  # none, where no answer was yes
        values = [tree.value[:, 0, yes].sum(axis=1) for tree in trees]

        def children(name: str) -> np.ndarray:
            found = [getattr(tree, name) for tree in trees]
            moved = [np.where(each < 0, -1, each + root) for each, root in zip(found, roots, strict=True)]
            return np.concatenate(moved).astype(np.int32)

        return cls(
            roots.astype(np.int32),
            children("children_left"),
            children("children_right"),
            np.maximum(np.concatenate([tree.feature for tree in trees]), 0).astype(np.int32),
            np.concatenate([tree.threshold for tree in trees]).astype(np.float64),
            np.concatenate(values).astype(np.float64),
            grown.feature_importances_.astype(np.float64),
        )

    @classmethod
    def _boosted(cls, rows: np.ndarray, answers: np.ndarray, settings: BoostedTrees) -> Self:
        features = rows.shape[1]
        if len(np.unique(answers)) < 2:  # which scikit-learn refuses: every answer is that one
            leaf, nothing = np.full(1, -1, np.int32), np.zeros(1, np.int32)
            certain = np.full(1, np.inf if answers[0] else -np.inf)
            return cls(nothing, leaf, leaf, nothing, np.zeros(1), np.zeros(1), np.zeros(features), certain)
        from sklearn.ensemble import HistGradientBoostingClassifier
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1, user_api="openmp"):
            forests = [
                HistGradientBoostingClassifier(
                    max_iter=settings.trees,
                    learning_rate=settings.learning_rate,
                    max_leaf_nodes=settings.max_leaves,
                    min_samples_leaf=settings.min_samples_leaf,
                    max_features=settings.max_features or 1.0,
                    l2_regularization=settings.l2,
                    early_stopping=False,
                    random_state=(settings.seed + number) % 2**32,
                ).fit(rows, answers)
                for number in range(settings.repeats)
            ]
        # The only place where scikit-learn has the trees.
        trees = [tree.nodes for grown in forests for [tree] in grown._predictors]
        roots = np.cumsum([0, *(len(tree) for tree in trees[:-1])])
        nodes = np.concatenate(trees)
        inner, root_of = nodes["is_leaf"] == 0, np.repeat(roots, [len(tree) for tree in trees])
        gains = np.bincount(nodes["feature_idx"][inner], nodes["gain"][inner], features)
        return cls(
            roots.astype(np.int32),
            np.where(inner, nodes["left"] + root_of, -1).astype(np.int32),
            np.where(inner, nodes["right"] + root_of, -1).astype(np.int32),
            np.where(inner, nodes["feature_idx"], 0).astype(np.int32),
            np.where(inner, nodes["num_threshold"], 0.0),
            nodes["value"].astype(np.float64) / settings.repeats,
            gains / gains.sum() if gains.any() else gains,
            np.asarray(forests[0]._baseline_prediction, np.float64).reshape(1),  # of the answers, the same in all
        )

    def predict(self, rows: np.ndarray, *, threads: int = 1) -> np.ndarray:
        """Return the probability of yes: that of scikit-learn's `predict_proba`, to the last digit.

        Args:
            rows: `(n, features)`, compared as float32; without NaN.
            threads: at most so many.

        Returns:
            float64 `(n,)`.

        Raises:
            ValueError: there are other features than the forest was fitted on, or one is NaN.
        """
        rows = np.ascontiguousarray(rows, np.float32)
        if rows.ndim != 2 or rows.shape[1] != len(self.importance):
            raise ValueError(f"rows have shape {rows.shape}; expected (n, {len(self.importance)})")
        if np.isnan(rows).any():
            raise ValueError("rows hold NaN, which is on no side of a threshold")
        found = np.full(len(rows), self.start[0] if self.start.size else 0.0)
        itself = np.arange(len(self.left), dtype=np.int32)
        children = np.stack([np.where(each < 0, itself, each) for each in (self.left, self.right)], axis=1)

        def work(start: int, stop: int) -> None:
            arrays = (self.roots, children, self.feature, self.threshold, self.value)
            _descend(rows[start:stop], *arrays, found[start:stop])

        parallel_for(work, len(rows), threads=threads, least=_ROWS)
        return special.expit(found) if self.start.size else found / len(self.roots)

    def importances(self, names: Sequence[str]) -> Mapping[str, float]:
        """Return the importance of each feature, the greatest first.

        Args:
            names: of the features.

        Returns:
            Importances by name.
        """
        order = np.argsort(-self.importance, kind="stable")
        return {names[number]: float(self.importance[number]) for number in order}

    def save(self, path: str | Path) -> None:
        """Write the arrays into a safetensors file, whole or not at all.

        Args:
            path: the file.

        Raises:
            UserError: it cannot be written.
        """
        held = {name: value for name, value in vars(self).items() if name != "start" or value.size}
        arrays = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in held.items()}
        write_weights(path, arrays, checksum=True)

    @classmethod
    def load(cls, path: str | Path, *, features: Collection[int]) -> Self:
        """Read a forest; nothing is unpickled.

        Args:
            path: a file that `save` wrote.
            features: how many it may be asked by.

        Returns:
            The forest.

        Raises:
            UserError: it is no such file, is damaged, or holds a forest of other features.
        """
        arrays = {name: tensor.numpy() for name, tensor in read_weights(path).items()}
        arrays.setdefault("start", np.zeros(0))
        if arrays.keys() != cls.__dataclass_fields__.keys() or not _is_forest(arrays, features):
            raise UserError(f"{path}: holds no forest of the features of recipe.yaml; copy the run again")
        return cls(**arrays)


def _is_forest(arrays: Mapping[str, np.ndarray], features: Collection[int]) -> bool:
    """Return whether arrays can be descended: every index inside, every child behind its parent, so that it ends."""
    kinds: dict[str, Any] = dict.fromkeys(("roots", "left", "right", "feature"), np.int32)
    kinds |= dict.fromkeys(("threshold", "value", "importance", "start"), np.float64)
    if any(arrays[name].ndim != 1 or arrays[name].dtype != kind for name, kind in kinds.items()):
        return False
    roots, left, right, feature = (arrays[name] for name in ("roots", "left", "right", "feature"))
    nodes = len(left)
    if any(len(arrays[name]) != nodes for name in ("right", "feature", "threshold", "value")):
        return False
    inner, behind = left != -1, np.arange(nodes)
    return bool(
        len(roots)
        and len(arrays["importance"]) in features
        and ((roots >= 0) & (roots < nodes)).all()
        and ((right != -1) == inner).all()
        and ((feature >= 0) & (feature < len(arrays["importance"]))).all()
        and all(((child > behind) & (child < nodes))[inner].all() for child in (left, right))
        and np.isfinite(arrays["threshold"]).all()
        and len(arrays["start"]) < 2
        and not np.isnan(arrays["start"]).any()
        and (
            np.isfinite(arrays["value"]).all()
            if len(arrays["start"])
            else ((arrays["value"] >= 0) & (arrays["value"] <= 1)).all()
        )
    )


@compiled
def _descend(rows, roots, children, feature, threshold, value, found):  # type: ignore[no-untyped-def]
    # A level at a time for a block of rows: their ways are independent, so that none waits for another's memory, and
    # a leaf, which is its own child, needs no branch. Sums are in the order of the trees, as scikit-learn's are.
    nodes = np.empty(_BLOCK, np.int32)
    for start in range(0, len(rows), _BLOCK):
        count = min(_BLOCK, len(rows) - start)
        for root in roots:
            nodes[:] = root
            moved = True
            while moved:
                moved = False
                for i in range(count):
                    node = nodes[i]
                    beyond = not rows[start + i, feature[node]] <= threshold[node]
                    nodes[i] = children[node, np.int64(beyond)]
                    moved |= nodes[i] != node
            for i in range(count):
                found[start + i] += value[nodes[i]]
