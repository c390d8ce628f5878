// A rank's state of fused and transposed tensors goes into checkpoints as Hugging Face's tensors, and comes
// back under any other cut.
#include <filesystem>

#include "models/pieces.hpp"
#include "optim/sharded_state.hpp"
#include "tests/catch.hpp"
#include "tests/io/temporary_folder.hpp"

using namespace collie;
using namespace collie::test;

namespace {

// A model that is only its parameters.
class ParametersAlone final : public StageModel {
 public:
  explicit ParametersAlone(std::vector<Parameter> parameters) : parameters_(std::move(parameters)) {}
  const StageRange& range() const override { return range_; }
  const std::vector<Parameter>& parameters() const override { return parameters_; }
  Tensor forward(LayerContext&, const MicroBatch&, const Tensor&, double, Loss&, Tensor&,
                 ActivationStash&) override {
    return {};
  }
  Tensor backward_input(LayerContext&, const MicroBatch&, const Tensor&, ActivationStash&) override {
    return {};
  }
  void backward_weight(LayerContext&, const MicroBatch&, ActivationStash&) override {}
  Tensor backward(LayerContext&, const MicroBatch&, const Tensor&, ActivationStash&) override { return {}; }
  Tensor evaluate(LayerContext&, const MicroBatch&, const Tensor&, Loss&, Tensor&) override { return {}; }
  void start_sequence(Operations&, KeyValueCache&, int64_t, int64_t) const override {}
  Tensor decode(LayerContext&, const MicroBatch&, const Tensor&, KeyValueCache&,
                const std::vector<int64_t>&) override {
    return {};
  }

 private:
  StageRange range_{0, 1, false, false};
  std::vector<Parameter> parameters_;
};

constexpr int64_t inputs = 6, width = 8;

// Three outputs of `width`, fused in one transposed tensor; a bias of the same; a plain matrix.
std::vector<Parameter> parameters_of(int rank, int ranks) {
  std::vector<Parameter> weights, biases;
  for (int64_t i = 0; i < 3; ++i) {
    weights.push_back(part_of_tensor("attn.weight", {inputs, 3 * width}, i * width, width, true));
    biases.push_back(part_of_tensor("attn.bias", {3 * width}, i * width, width, false));
    keep_part(weights.back(), 0, rank, ranks);
    keep_part(biases.back(), 0, rank, ranks);
  }
  Parameter plain = whole_tensor("plain", {inputs, width});
  keep_part(plain, 1, rank, ranks);
  return {stacked("attn.weight", weights), stacked("attn.bias", biases), plain};
}

float value_at(const std::string& tensor, int64_t element) {
  return static_cast<float>(element + (tensor == "plain" ? 1000 : tensor == "attn.bias" ? 2000 : 0));
}

std::unique_ptr<ShardedState> state_of(const StageModel& model, Operations& operations,
                                       const ParameterGroups& optimizers) {
  return std::make_unique<ShardedState>(model, DataSharding{}, operations, &optimizers, Precision{}, false,
                                        ShardedState::Groups{});
}

}  // namespace

TEST_CASE("fused and transposed tensors pass through a checkpoint from two tensor ranks to one and to four",
          "[pieces][checkpoint]") {
  const auto account = std::make_shared<MemoryAccount>();
  const auto operations = make_cpu_operations(1, account);
  const ParameterGroups adamw{OptimizerConfig{}};
  const TemporaryFolder folder;
  std::vector<std::vector<CheckpointSlice>> parts;
  for (const int rank : {0, 1}) {
    const ParametersAlone model(parameters_of(rank, 2));
    const auto state = state_of(model, *operations, adamw);
    state->load([&](ParameterId id, Tensor& values) {
      const Parameter& parameter = model.parameters()[static_cast<size_t>(id)];
      for_each_run(parameter, 0, values.numel(), [&](const TensorRun& run) {
        for (int64_t i = 0; i < run.count; ++i)
          values.data<float>()[run.held + i * run.stride] = value_at(run.piece.tensor, run.first + i);
      });
    });
    parts.push_back(state->snapshot());
  }
  CheckpointFolderSink sink({(folder / "checkpoints").string(), std::string(32, 'a')});
  const std::string path =
      write_checkpoint(sink, 1, {{"position", 7}, {"maths", nlohmann::json::object()}}, parts);
  const Checkpoint checkpoint = Checkpoint::open(path);
  for (const auto& [name, shape, is_table, transposed, stored_rows] : tensors_of(parameters_of(0, 1))) {
    CAPTURE(name);
    checkpoint.check(name, "weight", shape);
    Tensor whole = Tensor::host(shape, DType::f32, account, Category::workspace);
    checkpoint.read(name, "weight", shape, std::vector<int64_t>(static_cast<size_t>(shape.rank()), 0), whole);
    for (int64_t i = 0; i < whole.numel(); ++i) REQUIRE(whole.data<float>()[i] == value_at(name, i));
  }
  for (const int ranks : {1, 4})
    for (int rank = 0; rank < ranks; ++rank) {
      CAPTURE(ranks, rank);
      const ParametersAlone model(parameters_of(rank, ranks));
      const auto state = state_of(model, *operations, adamw);
      state->load(checkpoint);
      for (size_t id = 0; id < model.parameters().size(); ++id) {
        const Parameter& parameter = model.parameters()[id];
        const Tensor weight = state->weights().acquire(static_cast<ParameterId>(id));
        const Tensor flat = weight.reshape({weight.numel()});
        for_each_run(parameter, 0, flat.numel(), [&](const TensorRun& run) {
          for (int64_t i = 0; i < run.count; ++i)
            REQUIRE(flat.data<float>()[run.held + i * run.stride] ==
                    value_at(run.piece.tensor, run.first + i));
        });
      }
    }
}
