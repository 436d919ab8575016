"""Pictures as vectors for scikit-learn: exact latents, pipelines, names of numbers, bad input."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_html_repr

from transflow import FewShotClassifier, TransflowTransformer, wrap
from transflow.library.names import DEFAULT


def test_latents_are_the_models_own(model, task):
    x, _ = task
    found = TransflowTransformer(model).fit(x).transform(x)
    assert found.dtype == np.float32
    assert torch.equal(torch.from_numpy(found), model.encode(x))


def test_pictures_come_back(model, task):
    x, _ = task
    transformer = TransflowTransformer(model).fit(x)
    back = transformer.inverse_transform(transformer.transform(x))
    seen = (model.quantise(model.preprocess(x)) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    assert (back == seen.numpy()).all()


@pytest.mark.parametrize("output", ["latents", "normalised", "features"])
def test_other_estimators_stand_on_it(model, task, output):
    x, y = task
    pipeline = make_pipeline(TransflowTransformer(model, output), KNeighborsClassifier(1)).fit(x[::2], y[::2])
    assert pipeline.score(x[1::2], y[1::2]) == 1
    names = pipeline[:-1].get_feature_names_out()
    assert len(names) == pipeline[0].transform(x[:1]).shape[1]
    assert names[1] == f"{output}1"
    again = pickle.loads(pickle.dumps(pipeline))
    assert (again.predict(x) == pipeline.predict(x)).all()


def test_normalised_latents_have_length_1(model, task):
    x, _ = task
    found = TransflowTransformer(model, "normalised").fit_transform(x)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1) / np.sqrt(found.shape[1]), 1, rtol=1e-5)


def test_searches_clones_and_frames(model, task):
    x, y = task
    images = x.permute(0, 2, 3, 1).numpy()
    pipeline = make_pipeline(TransflowTransformer(model), LogisticRegression())
    search = GridSearchCV(pipeline, {"transflowtransformer__output": ["latents", "features"]}, cv=2)
    assert search.fit(images, y).best_score_ == 1
    assert clone(pipeline[0]).get_params()["output"] == "latents"
    framed = TransflowTransformer(model).set_output(transform="pandas").fit_transform(images)
    assert isinstance(framed, pd.DataFrame)
    assert framed.columns[0] == "latents0"


def test_the_classifier_works_where_scikit_learn_puts_it(model, task):
    """In a pipeline behind the transformer, in cross-validation, and as HTML."""
    x, y = task
    images = x.permute(0, 2, 3, 1).numpy()
    pipeline = make_pipeline(TransflowTransformer(model), FewShotClassifier(noise="0.5m"))
    assert cross_val_score(pipeline, images, y, cv=2).mean() == 1
    assert "TransflowTransformer" in estimator_html_repr(pipeline)
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(8, 2)), columns=["width", "height"])
    fitted = FewShotClassifier().fit(frame, [0, 1] * 4)
    assert fitted.feature_names_in_.tolist() == ["width", "height"]
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(frame.rename(columns={"width": "depth"}))


def test_bad_input(model, task, tmp_path):
    x, _ = task
    with pytest.raises(ValueError, match="Expected an output"):
        TransflowTransformer(model, "activations").fit(x)
    with pytest.raises(ValueError, match="Expected a model"):
        TransflowTransformer(None).fit(x)
    with pytest.raises(ValueError, match="call fit first"):
        TransflowTransformer(model).transform(x)
    with pytest.raises(ValueError, match='"latents"'):
        TransflowTransformer(model, "normalised").fit(x).inverse_transform(np.zeros((1, model.dim)))
    assert TransflowTransformer().model == DEFAULT
    (tmp_path / "file").touch()
    for cache in (tmp_path / "file", tmp_path / "file" / "x"):
        with pytest.raises(OSError, match="Expected"):
            TransflowTransformer(model, cache=cache).fit(x)


def test_what_is_set_after_fit_is_fitted_again(model, task):
    x, _ = task
    other = wrap(encode=lambda x: 2 * x.flatten(1), decode=lambda z: z.view(-1, 1, 2, 2) / 2, shape=(1, 2, 2))
    for changed in ({"output": "features"}, {"output": "activations"}, {"model": other}, {"model": None}):
        transformer = TransflowTransformer(model).fit(x).set_params(**changed)
        for use in (transformer.transform, transformer.inverse_transform, transformer.get_feature_names_out):
            with pytest.raises(ValueError, match="Fit it again"):
                use(x)
        if "model" not in changed and changed["output"] == "features":
            assert transformer.fit(x).transform(x).shape[1] == len(transformer.get_feature_names_out())
    transformer = TransflowTransformer(model).fit(x)
    assert (pickle.loads(pickle.dumps(transformer)).transform(x) == transformer.transform(x)).all()


def test_no_picture_and_one(model, task):
    x, _ = task
    with pytest.raises(ValueError, match="at least one picture"):
        TransflowTransformer(model).fit(x[:0])
    transformer = TransflowTransformer(model).fit(x[:1])
    assert transformer.transform(x[:0]).shape == (0, model.dim)
    assert transformer.inverse_transform(transformer.transform(x[:0])).shape[0] == 0
    assert transformer.transform(x[:1]).shape == (1, model.dim)
    with pytest.raises(TypeError, match="as numbers"):
        transformer.inverse_transform([["a"]])
