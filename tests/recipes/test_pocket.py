"""The recipes of the pocket model: what each says of its stages, without any training."""

import importlib

import pytest

from openreels.recipes import RECIPES, pocket, pocket_gpu


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_has_a_plan_of_the_same_stages(recipe):
    plan = importlib.import_module(RECIPES[recipe]).plan()
    assert plan.name == recipe
    assert [stage.name for stage in plan.stages] == [stage.name for stage in pocket.plan().stages]
    assert all(share.batch > 0 and share.shards > 0 for stage in plan.stages for share in stage.shares)


def test_a_gpu_sees_more_clips_at_a_time_and_more_of_them():
    for small, large in zip(pocket.plan().stages, pocket_gpu.plan().stages, strict=True):
        assert small.buckets == large.buckets and small.learns == large.learns
        for few, many in zip(small.shares, large.shares, strict=True):
            assert many.batch > few.batch and many.shards > few.shards
