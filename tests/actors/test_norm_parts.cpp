#include "actors/norm_parts.hpp"

#include <map>

#include "tests/catch.hpp"
#include "tests/models/support.hpp"

namespace collie::test {
namespace {

ModelWorkerSettings settings_of(const Grid& grid, int zero_stage, bool tied) {
  ModelWorkerSettings settings;
  settings.grid = grid;
  settings.model = tiny_config(tied);
  settings.model.num_hidden_layers = 4;
  settings.model.num_attention_heads = 4;
  settings.model.num_key_value_heads = 2;
  settings.model.head_dim = 64;
  settings.model.hidden_size = 256;
  settings.model.intermediate_size = 128;
  settings.model.vocab_size = 64;
  settings.model.attention_bias = settings.model.mlp_bias = false;
  settings.ranges = partition_stages(settings.model, 2 * grid.pipeline, "uniform");
  for (int stage = 0; stage < 2 * grid.pipeline; ++stage)
    settings.rank_of_stage.push_back(stage % grid.pipeline);
  settings.zero_stage = zero_stage;
  settings.bucket_elements = 4096;
  return settings;
}

TEST_CASE("what all ranks contribute to a norm is every block of every parameter once", "[actors][norm]") {
  const Grid grid = GENERATE(Grid{}, Grid{2, 1, 1, 1}, Grid{1, 3, 1, 1}, Grid{1, 2, 2, 1}, Grid{1, 1, 1, 4},
                             Grid{2, 2, 1, 2});
  const int zero_stage = GENERATE(0, 1, 3);
  const bool tied = GENERATE(false, true);
  CAPTURE(grid.pipeline, grid.data, grid.context, grid.tensor, zero_stage, tied);
  const ModelWorkerSettings settings = settings_of(grid, zero_stage, tied);
  const auto parts = norm_parts(settings);
  REQUIRE(parts.size() == static_cast<size_t>(grid.ranks()));

  // [parameter, piece] -> blocks
  std::map<std::pair<int, int>, int64_t> blocks;
  for (const auto& of_rank : parts)
    for (const NormPart& part : of_rank) blocks[{part.parameter, part.piece}] += part.values;
  const bool sharded = zero_stage > 0 && grid.data_ranks() > 1;
  const auto parameters = model_parameters(settings.model);
  for (int id = 0; id < static_cast<int>(parameters.size()); ++id) {
    const Parameter& whole = parameters[static_cast<size_t>(id)];
    CAPTURE(whole.name);
    for (int piece = 0; piece < grid.tensor; ++piece) {
      const auto found = blocks.find({id, piece});
      const bool norm = whole.initialisation == Initialisation::ones;
      const bool key_value =
          whole.name.find("k_proj") != std::string::npos || whole.name.find("v_proj") != std::string::npos;
      // What several ranks of the tensor group hold is contributed by the first of them.
      const int holders = norm ? grid.tensor : key_value && grid.tensor == 4 ? 2 : 1;
      if (piece % holders != 0) {
        CHECK(found == blocks.end());
        continue;
      }
      REQUIRE(found != blocks.end());
      const int64_t elements = whole.shape.numel() / (norm ? 1 : grid.tensor / holders);
      CHECK(found->second == (sharded ? (elements + reduction_block - 1) / reduction_block : 1));
    }
  }
  const NormOrder order = norm_order(parts, static_cast<int>(parameters.size()));
  CHECK(order.losses.firsts.size() == parts.size());
}

TEST_CASE("a stage's parameters are known without the stage", "[actors][norm]") {
  const bool tied = GENERATE(false, true);
  const auto owner = make_operations("cpu");
  const ModelWorkerSettings settings = settings_of(Grid{2, 1, 1, 2}, 0, tied);
  for (const StageRange& range : settings.ranges)
    for (int tensor = 0; tensor < 2; ++tensor) {
      const ModelShard shard{tensor, 2};
      const auto model = make_stage_model(settings.model, range, *owner.operations, shard);
      const auto known = stage_parameters(settings.model, range, shard);
      REQUIRE(known.size() == model->parameters().size());
      for (size_t i = 0; i < known.size(); ++i) {
        const Parameter& is = model->parameters()[i];
        CAPTURE(is.name);
        CHECK(known[i].name == is.name);
        CHECK((known[i].shape == is.shape));
        CHECK((known[i].offsets == is.offsets));
        CHECK(known[i].tied_copy == is.tied_copy);
        CHECK(known[i].first_holder == is.first_holder);
        CHECK(known[i].unit == is.unit);
      }
    }
}

}  // namespace
}  // namespace collie::test
