// AdaLoRA against Hugging Face's peft (tests/golden/make_adalora_golden.py), and which triplets are kept
// when.
#include "optim/rank_allocation.hpp"

#include "io/weight_folder.hpp"
#include "peft/adapter_config.hpp"
#include "peft/allocated_source.hpp"
#include "peft/model_of_config.hpp"
#include "tests/io/memory_checkpoints.hpp"
#include "tests/peft/golden_adapters.hpp"

namespace collie::test {
namespace {

const std::vector<std::string> triplet_cases = {"adalora_llama", "adalora_qwen2", "adalora_gpt2"};

RankSchedule schedule_of(const PeftSection& peft, int64_t total) {
  return {total, peft.tinit, peft.tfinal, peft.deltaT, peft.target_r, {peft.beta1, peft.beta2}};
}

struct TripletCase {
  explicit TripletCase(const std::string& name, const std::string& part = "")
      : folder(golden_folder + "peft/" + name), golden(read_json(folder + "/golden.json")) {
    base = golden_folder + golden["base"].get<std::string>();
    folder += part;
    config.peft.path = folder;
    complete_adapter_config(config);
    config.optimizer = adamw_of_adapters();
    model = model_of_config(config, load_model_config(base));
  }

  GoldenSettings settings() const { return settings_of_adapter(model, folder, config.optimizer); }

  std::string folder, base;
  nlohmann::json golden;
  Config config;
  ModelSpec model;
};

Checkpoint checkpoint_of(GoldenTrainer& trainer) {
  return Checkpoint(
      std::make_shared<const MemoryCheckpoint>(20, nlohmann::json::object(), trainer.state().snapshot()));
}

// Which values are not zero, as golden.json has it.
std::map<std::string, std::vector<bool>> values_in(const Checkpoint& checkpoint, const ModelSpec& model) {
  std::map<std::string, std::vector<bool>> all;
  for (const auto& [matrix, adapters] : model.adapters) {
    const std::string name = name_of_values(matrix);
    for (const float value : checkpoint.evaluated(name, {adapters.front().rank, 1}))
      all[name].push_back(value != 0);
  }
  return all;
}

std::vector<float> whole_slice(const CheckpointSource& source, size_t index) {
  size_t count = 1;
  for (const int64_t dim : source.slices()[index].shape) count *= static_cast<size_t>(dim);
  std::vector<float> values(count);
  source.read(index, 0, values);
  return values;
}

}  // namespace

TEST_CASE("triplets that peft wrote have its logits, also when some were lost", "[peft][golden]") {
  const std::string name = GENERATE(from_range(triplet_cases));
  CAPTURE(name);
  const TripletCase whole(name), kept(name, "/kept");
  CHECK(whole.model.adapters.begin()->second.front().is_allocated);
  CHECK_FALSE(kept.model.adapters.begin()->second.front().is_allocated);
  check_golden_logits(whole.model, whole.base, whole.folder, whole.golden["logits"]);
  check_golden_logits(kept.model, kept.base, kept.folder, read_json(kept.folder + "/logits.json"));
}

TEST_CASE("triplets that peft wrote have its gradients, the regulariser's included", "[peft][golden]") {
  const TripletCase each(GENERATE(from_range(triplet_cases)));
  CAPTURE(each.folder);
  GoldenTrainer trainer(each.base, two_threads(), {}, each.settings());
  check_golden_gradients(trainer, each.model, each.base, each.folder, each.golden["loss"]);
}

TEST_CASE("20 steps of triplets have peft's losses, and keep those that peft keeps", "[peft][golden]") {
  const TripletCase each(GENERATE(from_range(triplet_cases)));
  CAPTURE(each.folder);
  const RankAllocator allocator(schedule_of(each.config.peft, 20), each.model);
  GoldenSettings settings = each.settings();
  settings.between = [&](Operations& operations, ShardedState& state, const Tensor& factor, int64_t update) {
    ShardedState* const states[] = {&state};
    allocator.step(operations, states, factor, update, [](Tensor&) {});
  };
  GoldenTrainer trainer(each.base, two_threads(), {}, settings);
  const nlohmann::json steps = read_json(each.base + "/golden.json")["steps"];
  for (size_t step = 0; step < 20; ++step) {
    std::vector<MicroBatch> batches;
    for (const nlohmann::json& documents : steps[step % steps.size()]) batches.push_back(pack(documents));
    INFO("step " << step);
    CHECK(std::abs(trainer.step(batches) - each.golden["losses"][step].get<double>()) < 1e-4);
    CHECK((values_in(checkpoint_of(trainer), each.model) ==
           each.golden["patterns"][step].get<std::map<std::string, std::vector<bool>>>()));
  }
  const SafetensorsFile expected(each.folder + "/trained.safetensors");
  const Checkpoint trained = checkpoint_of(trainer);
  for (const NamedTensor& tensor : adapter_tensors(each.model)) {
    const std::string in_file = name_in_adapter(each.model, tensor.name);
    INFO(in_file);
    const std::vector<float> found = trained.evaluated(tensor.name, tensor.shape);
    CHECK(relative_error(found, tensor_in(expected, in_file)) < 1e-3);
  }

  // What a run writes is what peft writes.
  const AllocatedSource kept(trained, each.model);
  CHECK(nlohmann::json(kept.rank_pattern()) == each.golden["rank_pattern"]);
  const SafetensorsFile saved(each.folder + "/kept/adapter_model.safetensors");
  REQUIRE(kept.slices().size() == saved.tensors().size());
  for (size_t i = 0; i < kept.slices().size(); ++i) {
    const std::string in_file = name_in_adapter(each.model, kept.slices()[i].name);
    INFO(in_file);
    CHECK(kept.slices()[i].shape == saved.find(in_file).shape);
    CHECK(relative_error(whole_slice(kept, i), tensor_in(saved, in_file)) < 1e-3);
  }
}

TEST_CASE("when ranks are chosen, and how many are left", "[peft]") {
  const RankSchedule schedule{20, 2, 4, 3, 2, {}};
  std::vector<int64_t> chosen;
  for (int64_t update = 0; update < 20; ++update)
    if (decision_at(schedule, update) == RankDecision::again) chosen.push_back(update);
  CHECK((chosen == std::vector<int64_t>{3, 6, 9, 12, 15, 16}));
  CHECK(decision_at(schedule, 17) == RankDecision::fixed);
  CHECK(decision_at(schedule, 2) == RankDecision::none);
  CHECK(rank_budget(schedule, 56, 14, 2) == 56);
  CHECK(rank_budget(schedule, 56, 14, 3) == 50);
  CHECK(rank_budget(schedule, 56, 14, 9) == 31);
  CHECK(rank_budget(schedule, 56, 14, 16) == 28);
  CHECK(rank_budget(schedule, 56, 14, 19) == 28);
  CHECK((kept_of({3, 1, 2, 5}, 2) == std::vector<bool>{true, false, false, true}));
  // Of equal scores none is kept.
  CHECK((kept_of({2, 1, 2, 5}, 2) == std::vector<bool>{false, false, false, true}));
  CHECK((kept_of({0, 0, 0}, 2) == std::vector<bool>{false, false, false}));
}

}  // namespace collie::test
