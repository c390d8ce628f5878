// What a rank holds in memory while it reads its part of a large file: its part, and one tensor at most.
#include "base/error.hpp"
#include "io/safetensors.hpp"
#include "models/pieces.hpp"
#include "models/weights_io.hpp"
#include "tests/catch.hpp"
#include "tests/io/peak_memory.hpp"
#include "tests/io/temporary_folder.hpp"
#include "tests/io/torch_archive.hpp"
#include "tests/models/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

// 24 layers of 10 MiB each.
ModelConfig large_config() {
  ModelConfig config = tiny_config(true);
  config.hidden_size = 512;
  config.intermediate_size = 1024;
  config.num_hidden_layers = 24;
  config.num_attention_heads = config.num_key_value_heads = 8;
  config.head_dim = 64;
  config.vocab_size = 1024;
  return config;
}

constexpr StageRange last_layer = {23, 24, false, false};
constexpr ModelShard half_of_it = {1, 2};

int64_t kib_of(const std::vector<Parameter>& parameters) {
  int64_t elements = 0;
  for (const Parameter& parameter : parameters) elements += parameter.shape.numel();
  return elements * 4 / 1024;
}

void write_large_safetensors(const TemporaryFolder& folder) {
  const std::vector<std::byte> zeros(size_t{1024} * 1024 * 4);
  std::vector<SafetensorsItem> items;
  for (const NamedTensor& each : tensors_of(model_parameters(large_config()))) {
    const auto bytes = static_cast<size_t>(each.shape.numel()) * 4;
    items.push_back({each.name, "F32", each.shape.to_vector(),
                     [&zeros, bytes] { return std::span<const std::byte>(zeros).first(bytes); }});
  }
  write_safetensors(folder / "model.safetensors", items);
}

// Matrices are stored column by column.
void write_large_torch(const TemporaryFolder& folder) {
  std::vector<std::pair<std::string, std::string>> items;
  std::vector<std::string> storages;
  for (const NamedTensor& each : tensors_of(model_parameters(large_config()))) {
    const auto elements = static_cast<int32_t>(each.shape.numel());
    const std::vector<int64_t> dims = each.shape.to_vector();
    const std::vector<int32_t> shape(dims.begin(), dims.end());
    const std::vector<int32_t> strides =
        shape.size() == 2 ? std::vector<int32_t>{1, shape[0]} : std::vector<int32_t>{1};
    items.emplace_back(each.name, pickled_tensor(pickled_storage(std::to_string(storages.size()), elements),
                                                 0, shape, strides));
    storages.emplace_back(static_cast<size_t>(elements) * 4, '\0');
  }
  folder.write("pytorch_model.bin", torch_file(pickle_of(dict_of(items)), storages));
}

}  // namespace

TEST_CASE("a process that reads half of one layer", "[reads-half-a-layer]") {
  if (folder_of_child().empty()) return;
  const auto owner = make_operations("cpu");
  const auto model = make_stage_model(large_config(), last_layer, *owner.operations, half_of_it);
  const int64_t before = peak_memory_kib();
  std::vector<Tensor> weights = like(*owner.operations, model->parameters(), 1);
  const WeightFolder folder(folder_of_child().string());
  read_weights(folder, model->parameters(), *owner.operations, weights);
  note_growth_kib(peak_memory_kib() - before);
  for (const Tensor& weight : weights) CHECK(values(*owner.operations, weight).back() == 0);
}

TEST_CASE("a rank holds its part and one tensor while it reads a large file", "[weights][slow]") {
  if (!memory_can_be_measured) {
    WARN("a sanitizer has memory of its own: skipped");
    return;
  }
  const TemporaryFolder folder;
  const bool is_torch = GENERATE(false, true);
  is_torch ? write_large_torch(folder) : write_large_safetensors(folder);
  const auto owner = make_operations("reference");
  const auto model = make_stage_model(large_config(), last_layer, *owner.operations, half_of_it);
  const int64_t part = kib_of(model->parameters()), tensor_kib = 1024 * 512 * 4 / 1024;
  const int64_t pieces = 6 * 1024;  // what is read at once, the names of the tensors, the allocator's
  const int64_t growth = growth_of_child_kib(folder.path(), "[reads-half-a-layer]");
  const auto file = static_cast<int64_t>(
      std::filesystem::file_size(folder / (is_torch ? "pytorch_model.bin" : "model.safetensors")) / 1024);
  fmt::print("{}: {} KiB for a part of {} KiB of a file of {} KiB\n", is_torch ? "PyTorch's" : "safetensors",
             growth, part, file);
  CHECK(file > 40 * part);
  CHECK(growth >= part);
  CHECK(growth <= part + tensor_kib + pieces);
}
