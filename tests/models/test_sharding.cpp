// What each rank of a tensor group holds of a model, and how its weights are filled.
#include <set>

#include "io/safetensors.hpp"
#include "models/parameter_list.hpp"
#include "models/pieces.hpp"
#include "models/weights_io.hpp"
#include "tests/catch.hpp"
#include "tests/io/temporary_folder.hpp"
#include "tests/models/messages.hpp"
#include "tests/models/rank_harness.hpp"

using namespace collie;
using namespace collie::test;

namespace {

const StageRange all_of_it = {0, 2, true, true};

ModelConfig shardable() {
  ModelConfig config = tiny_config(false);
  config.intermediate_size = 12;
  config.vocab_size = 16;
  return config;
}

std::map<std::string, Parameter> parameters_of(const ModelConfig& config, const ModelShard& shard) {
  const auto owner = make_operations("reference");
  std::map<std::string, Parameter> all;
  const auto model = make_stage_model(config, all_of_it, *owner.operations, shard);
  for (const Parameter& parameter : model->parameters())
    all[parameter.name.substr(parameter.name.find("layers.0.") == std::string::npos ? 0 : 15)] = parameter;
  return all;
}

const Piece& piece_of(const Parameter& parameter) {
  REQUIRE(parameter.pieces.size() == 1);
  return parameter.pieces.front();
}

std::vector<int64_t> offsets_of(const Parameter& parameter) {
  const auto& offsets = piece_of(parameter).offsets;
  return {offsets.begin(), offsets.begin() + parameter.shape.rank()};
}

}  // namespace

TEST_CASE("ranks hold equal rectangles of every matrix", "[sharding]") {
  const ModelConfig config = shardable();  // 4 heads of 4 channels, 2 key/value heads, hidden 8
  auto two = parameters_of(config, {1, 2});
  const auto check = [](const Parameter& parameter, const Shape& whole, const Shape& shape,
                        const std::vector<int64_t>& offsets) {
    INFO(parameter.name);
    CHECK(piece_of(parameter).tensor_shape == whole);
    CHECK(parameter.shape == shape);
    CHECK(offsets_of(parameter) == offsets);
  };
  check(two["model.embed_tokens.weight"], {16, 8}, {8, 8}, {8, 0});
  check(two["self_attn.q_proj.weight"], {16, 8}, {8, 8}, {8, 0});
  check(two["self_attn.q_proj.bias"], {16}, {8}, {8});
  check(two["self_attn.k_proj.weight"], {8, 8}, {4, 8}, {4, 0});
  check(two["self_attn.v_proj.bias"], {8}, {4}, {4});
  check(two["self_attn.o_proj.weight"], {8, 16}, {8, 8}, {0, 8});
  check(two["self_attn.o_proj.bias"], {8}, {8}, {0});
  check(two["mlp.gate_proj.weight"], {12, 8}, {6, 8}, {6, 0});
  check(two["mlp.up_proj.bias"], {12}, {6}, {6});
  check(two["mlp.down_proj.weight"], {8, 12}, {8, 6}, {0, 6});
  check(two["mlp.down_proj.bias"], {8}, {8}, {0});
  check(two["input_layernorm.weight"], {8}, {8}, {0});
  check(two["lm_head.weight"], {16, 8}, {8, 8}, {8, 0});
  for (auto& [name, parameter] : two) {
    INFO(name);
    const bool replicated = parameter.shape == piece_of(parameter).tensor_shape;
    CHECK(parameter.is_primary == !replicated);  // rank 1 stands for what it alone has
    CHECK(parameter.gradient_shares == GradientShares::whole);
  }
  for (auto& [name, parameter] : parameters_of(config, {1, 2, true})) {
    INFO(name);
    const bool replicated = parameter.shape == piece_of(parameter).tensor_shape;
    CHECK(parameter.gradient_shares == (replicated ? GradientShares::tensor : GradientShares::whole));
  }
  for (auto& [name, parameter] : parameters_of(config, {0, 1, true})) {
    INFO(name);
    CHECK(parameter.shape == piece_of(parameter).tensor_shape);
    CHECK(parameter.is_primary);
    CHECK(parameter.gradient_shares == GradientShares::whole);
  }
}

TEST_CASE("ranks beyond the key/value heads share them", "[sharding]") {
  const ModelConfig config = shardable();
  for (int rank = 0; rank < 4; ++rank) {
    CAPTURE(rank);
    auto four = parameters_of(config, {rank, 4});
    for (const char* name : {"self_attn.k_proj.weight", "self_attn.v_proj.bias"}) {
      CHECK(four[name].shape[0] == 4);
      CHECK(offsets_of(four[name])[0] == (rank / 2) * 4);
      CHECK(four[name].is_primary == (rank % 2 == 0));
      CHECK(four[name].gradient_shares == GradientShares::key_value);
    }
    CHECK(offsets_of(four["self_attn.q_proj.weight"])[0] == rank * 4);
    CHECK(four["self_attn.q_proj.weight"].gradient_shares == GradientShares::whole);
  }
}

namespace {

// The first row in its tensor of each of a parameter's pieces, and their rows.
std::vector<std::pair<int64_t, int64_t>> rows_in_tensor(const Parameter& parameter) {
  std::vector<std::pair<int64_t, int64_t>> rows;
  for (const Piece& piece : pieces_of(parameter)) rows.emplace_back(piece.offsets[0], piece.rows);
  return rows;
}

}  // namespace

TEST_CASE("of a fused matrix a rank has the rows of its heads, its own before those that it shares",
          "[sharding]") {
  using Rows = std::vector<std::pair<int64_t, int64_t>>;
  const ModelConfig packed = as_family(shardable(), "phi3"), by_group = as_family(shardable(), "internlm2");
  for (int rank = 0; rank < 4; ++rank) {
    CAPTURE(rank);
    const int64_t r = rank, key_head = rank / 2;
    auto of_phi3 = parameters_of(packed, {rank, 4}), of_internlm2 = parameters_of(by_group, {rank, 4});
    CHECK(rows_in_tensor(of_phi3["self_attn.qkv_proj.weight"]) ==
          Rows{{4 * r, 4}, {16 + 4 * key_head, 4}, {24 + 4 * key_head, 4}});
    const Rows grouped = {{16 * key_head + 4 * (r % 2), 4}, {16 * key_head + 8, 4}, {16 * key_head + 12, 4}};
    CHECK(rows_in_tensor(of_internlm2["attention.wqkv.weight"]) == grouped);
    CHECK(rows_in_tensor(of_internlm2["attention.wqkv.bias"]) == grouped);
    for (const Parameter& parameter :
         {of_phi3["self_attn.qkv_proj.weight"], of_internlm2["attention.wqkv.bias"]}) {
      CHECK(parameter.own_rows == 4);
      CHECK(parameter.is_primary == (rank % 2 == 0));
      CHECK(parameter.gradient_shares == GradientShares::key_value);
      CHECK(parameter.primary_numel() == parameter.shape.numel() / (rank % 2 == 0 ? 1 : 3));
    }
    const Parameter& gate_up = of_phi3["mlp.gate_up_proj.weight"];
    CHECK(rows_in_tensor(gate_up) == Rows{{3 * r, 3}, {12 + 3 * r, 3}});
    CHECK(gate_up.gradient_shares == GradientShares::whole);
  }
  const Parameter half = parameters_of(packed, {1, 2})["self_attn.qkv_proj.weight"];
  CHECK(rows_in_tensor(half) == Rows{{8, 8}, {20, 4}, {28, 4}});
  CHECK(half.gradient_shares == GradientShares::whole);
  CHECK(half.primary_numel() == half.shape.numel());
}

TEST_CASE("parameters know the layer of the stage they belong to", "[sharding]") {
  const auto owner = make_operations("reference");
  const auto layers = [&](const StageRange& range) {
    std::map<int, std::set<std::string>> all;
    const auto model = make_stage_model(tiny_config(true), range, *owner.operations);
    for (const Parameter& parameter : model->parameters())
      all[parameter.layer].insert(parameter.name.substr(0, parameter.name.find(".", 13)));
    return all;
  };
  using Units = std::map<int, std::set<std::string>>;
  CHECK(layers({0, 2, true, true}) == Units{{0, {"model.embed_tokens"}},
                                            {1, {"model.layers.0"}},
                                            {2, {"model.layers.1"}},
                                            {3, {"model.norm.weight", "model.embed_tokens"}}});
  CHECK(layers({1, 2, false, true}) ==
        Units{{0, {"model.layers.1"}}, {1, {"model.norm.weight", "model.embed_tokens"}}});
  CHECK(layers({2, 2, false, true}) == Units{{0, {"model.norm.weight", "model.embed_tokens"}}});
}

TEST_CASE("stages say which layer they use next", "[sharding]") {
  struct Recorder final : ParameterSource {
    explicit Recorder(ParameterSource& source) : source_(source) {}
    Tensor acquire(ParameterId id) override { return source_.acquire(id); }
    void release(ParameterId id) override { source_.release(id); }
    void prefetch(int layer, int next) override { said.emplace_back(layer, next); }
    ParameterSource& source_;
    std::vector<std::pair<int, int>> said;
  };
  using Said = std::vector<std::pair<int, int>>;
  Grid grid(tiny_config(true), {{0, 1, true, false}, {1, 2, false, true}}, {});
  Rank& rank = *grid.ranks[0];
  std::vector<std::unique_ptr<ParameterSource>> kept;
  for (Rank::Stage& stage : rank.stages) {
    kept.push_back(std::move(stage.source));
    stage.source = std::make_unique<Recorder>(*kept.back());
  }
  const auto said = [&] {
    std::vector<Said> all;
    for (Rank::Stage& stage : rank.stages)
      all.push_back(std::exchange(static_cast<Recorder&>(*stage.source).said, {}));
    return all;
  };
  const MicroBatch batch = make_batch({4}, 11, "batch");
  rank.forward(batch, 1.0);
  CHECK(said() == std::vector<Said>{{{0, 1}, {1, -1}}, {{0, 1}, {1, 0}}});
  rank.backward_input(batch);
  CHECK(said() == std::vector<Said>{{{1, -1}}, {{1, 0}, {0, -1}}});
  rank.backward_weight(batch);
  CHECK(said() == std::vector<Said>{{}, {}});  // needs no weights
  rank.forward(batch, 1.0);
  said();
  rank.backward(batch);
  CHECK(said() == std::vector<Said>{{{1, -1}}, {{1, 0}, {0, -1}}});
  rank.evaluate(batch);
  CHECK(said() == std::vector<Said>{{{0, 1}, {1, -1}}, {{0, 1}, {1, -1}}});
  rank.decode(batch, {4});
  CHECK(said() == std::vector<Said>{{{0, 1}, {1, -1}}, {{0, 1}, {1, -1}}});
}

TEST_CASE("a rank's initial weights are those of the whole at its places", "[sharding][initialise]") {
  const ModelConfig config = shardable();
  const auto owner = make_operations("reference");
  Operations& operations = *owner.operations;
  std::map<std::string, std::vector<float>> whole;
  for (const Parameter& parameter : model_parameters(config)) {
    Tensor weight = operations.empty(parameter.shape, Category::weights);
    initialise(parameter, 42, operations, weight);
    whole[parameter.name] = values(operations, weight);
  }
  for (const ModelShard& shard : {ModelShard{0, 2}, ModelShard{1, 2}, ModelShard{3, 4}}) {
    const auto model = make_stage_model(config, all_of_it, operations, shard);
    for (const Parameter& parameter : model->parameters()) {
      INFO(parameter.name);
      std::vector<float> expected;
      for (const size_t place : places(parameter)) expected.push_back(whole[parameter.name][place]);
      Tensor weight = operations.empty(parameter.shape, Category::weights);
      initialise(parameter, 42, operations, weight);
      CHECK(values(operations, weight) == expected);
      // A range of what it holds, across rows.
      const int64_t end = weight.numel() - 1, begin = std::min<int64_t>(3, end);
      Tensor part = operations.empty({end - begin}, Category::weights);
      initialise_range(parameter, 42, begin, operations, part);
      CHECK(values(operations, part) == std::vector<float>(expected.begin() + begin, expected.begin() + end));
    }
  }
}

TEST_CASE("large rectangles are initialised across the blocks of the host buffer", "[sharding][initialise]") {
  const auto owner = make_operations("cpu");
  Operations& operations = *owner.operations;
  const Parameter whole{"a", {300, 1000}, Initialisation::normal, 1.0};
  Parameter part{"a", {300, 333}, Initialisation::normal, 1.0};
  part.pieces = {{"a", {300, 1000}, 0, 300, {0, 501}}};
  Tensor all = operations.empty(whole.shape, Category::weights),
         held = operations.empty(part.shape, Category::weights);
  initialise(whole, 7, operations, all);
  initialise(part, 7, operations, held);
  CHECK(values(operations, held) == values(operations, all.columns(501, 501 + 333)));
}

TEST_CASE("runs cover a rectangle of any rank in order", "[sharding]") {
  Parameter parameter{"a", {2, 3, 2, 4}};
  parameter.pieces = {{"a", {5, 3, 4, 4}, 0, 2, {1, 0, 2, 0}}};
  std::vector<int64_t> expected, found;
  for (int64_t a = 1; a < 3; ++a)
    for (int64_t b = 0; b < 3; ++b)
      for (int64_t c = 2; c < 4; ++c)
        for (int64_t d = 0; d < 4; ++d) expected.push_back(((a * 3 + b) * 4 + c) * 4 + d);
  int runs = 0;
  for_each_run(parameter, 3, parameter.shape.numel(), [&](const TensorRun& run) {
    CHECK(run.held == 3 + static_cast<int64_t>(found.size()));
    CHECK(run.stride == 1);
    for (int64_t i = 0; i < run.count; ++i) found.push_back(run.first + i);
    ++runs;
  });
  CHECK(found == std::vector<int64_t>(expected.begin() + 3, expected.end()));
  CHECK(runs == 6);  // of 2 · 4 elements
}

TEST_CASE("a rank reads its rectangle of every tensor of a file", "[sharding][weights]") {
  const std::string dtype = GENERATE("F32", "BF16");
  const ModelConfig config = shardable();
  const TemporaryFolder folder;
  const auto value_at = [](size_t i) { return static_cast<float>(i % 128); };  // exact in bfloat16
  std::vector<std::vector<std::byte>> bytes;
  std::vector<SafetensorsItem> items;
  const std::vector<Parameter> whole = model_parameters(config);
  for (const Parameter& parameter : whole) {
    auto& data = bytes.emplace_back();
    for (size_t i = 0; i < static_cast<size_t>(parameter.shape.numel()); ++i) {
      uint32_t bits = std::bit_cast<uint32_t>(value_at(i));
      if (dtype == "BF16") bits >>= 16;
      const auto* first = reinterpret_cast<const std::byte*>(&bits);
      data.insert(data.end(), first, first + (dtype == "BF16" ? 2 : 4));
    }
  }
  for (size_t i = 0; i < whole.size(); ++i) {
    std::vector<int64_t> shape;
    for (int axis = 0; axis < whole[i].shape.rank(); ++axis) shape.push_back(whole[i].shape[axis]);
    items.push_back({whole[i].name, dtype, shape, [&data = bytes[i]] { return std::span(data); }});
  }
  write_safetensors(folder / "model.safetensors", items);
  const auto owner = make_operations("cpu");
  for (int rank = 0; rank < 4; ++rank) {
    const auto model = make_stage_model(config, all_of_it, *owner.operations, {rank, 4});
    std::vector<Tensor> weights = like(*owner.operations, model->parameters(), NAN);
    read_weights(WeightFolder(folder.path().string()), model->parameters(), *owner.operations, weights);
    for (size_t i = 0; i < weights.size(); ++i) {
      INFO(model->parameters()[i].name);
      std::vector<float> expected;
      for (const size_t place : places(model->parameters()[i])) expected.push_back(value_at(place));
      CHECK(values(*owner.operations, weights[i]) == expected);
    }
  }
}

TEST_CASE("sizes that ranks cannot share are refused with those that they can", "[sharding]") {
  const auto refusal = [](const ModelConfig& config, int ranks) {
    return message_of([&] { check_shard(config, {0, ranks}); });
  };
  ModelConfig config = shardable();  // 4 heads, width 12, vocabulary 16
  for (const int ranks : {1, 2, 4}) check_shard(config, {0, ranks, true, 0, 3});
  check_says(refusal(config, 3), {"parallel.tp_size: 3", "num_attention_heads of 4", "2 and 4", "3 or 6"});
  check_says(refusal(config, 8), {"parallel.tp_size: 8", "num_attention_heads of 4", "this model: 4;",
                                  "num_attention_heads for this tp_size: 8"});
  config.intermediate_size = 10;
  check_says(refusal(config, 4),
             {"parallel.tp_size: 4", "intermediate_size of 10", "this model: 2", "8 or 12"});
  config = shardable();
  config.vocab_size = 50257;
  check_says(refusal(config, 2), {"parallel.tp_size: 2", "vocab_size of 50257", "this model: 1;", "50258"});
  config = shardable();
  config.num_attention_heads = 6;
  config.num_key_value_heads = 3;
  config.vocab_size = 18;
  check_says(refusal(config, 2), {"parallel.tp_size: 2", "num_key_value_heads of 3",
                                  "one must be a multiple of the other", "1 and 3"});
  const auto owner = make_operations("reference");
  CHECK_THROWS_AS(make_stage_model(config, all_of_it, *owner.operations, {0, 2}), UserError);
}
