#include "models/weights_io.hpp"

#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "io/safetensors.hpp"
#include "models/model_folder_source.hpp"
#include "models/pieces.hpp"
#include "models/stage_model.hpp"
#include "tests/catch.hpp"
#include "tests/io/temporary_folder.hpp"
#include "tests/io/torch_archive.hpp"
#include "tests/models/messages.hpp"
#include "tests/models/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

struct StoredInFile {
  std::string dtype;
  std::vector<int64_t> shape;
  std::vector<std::byte> bytes;
};

std::vector<int64_t> dims(const Shape& shape) {
  std::vector<int64_t> all;
  for (int axis = 0; axis < shape.rank(); ++axis) all.push_back(shape[axis]);
  return all;
}

// 1, -2, 3, -4, ...: exact in every dtype for the few values each tensor repeats.
float value_at(size_t i) {
  return (i % 2 ? -1.0f : 1.0f) * static_cast<float>(i % 7 + 1);
}

StoredInFile stored(const Shape& shape, const std::string& dtype) {
  StoredInFile tensor{dtype, dims(shape), {}};
  for (size_t i = 0; i < static_cast<size_t>(shape.numel()); ++i) {
    const float value = value_at(i);
    uint32_t bits = 0;
    std::memcpy(&bits, &value, 4);
    if (dtype == "BF16") bits >>= 16;
    if (dtype == "F16")
      bits = ((bits >> 16) & 0x8000u) | (((bits >> 23) & 0xFFu) - 112u) << 10 | ((bits >> 13) & 0x3FFu);
    const size_t size = dtype == "F32" || dtype == "I32" ? 4 : 2;
    const auto* first = reinterpret_cast<const std::byte*>(&bits);
    tensor.bytes.insert(tensor.bytes.end(), first, first + size);
  }
  return tensor;
}

using Tensors = std::map<std::string, StoredInFile>;

Tensors all_tensors(const ModelConfig& config, const std::string& dtype = "F32") {
  Tensors tensors;
  for (const Parameter& parameter : model_parameters(config))
    tensors[parameter.name] = stored(parameter.shape, dtype);
  return tensors;
}

void write(const TemporaryFolder& folder, const Tensors& tensors) {
  std::vector<SafetensorsItem> items;
  for (const auto& [name, tensor] : tensors)
    items.push_back({name, tensor.dtype, tensor.shape, [&bytes = tensor.bytes] { return std::span(bytes); }});
  write_safetensors(folder / "model.safetensors", items);
}

}  // namespace

TEST_CASE("weights of every float dtype are read by name", "[weights]") {
  const std::string dtype = GENERATE("F32", "BF16", "F16");
  const std::string device = GENERATE(from_range(all_devices));
  CAPTURE(dtype, device);
  const TemporaryFolder folder;
  const ModelConfig config = tiny_config(true);
  write(folder, all_tensors(config, dtype));
  CHECK(check_weights(folder.path().string(), config).empty());
  const auto owner = make_operations(device);
  // The last stage of two: a tied copy of the embedding is read, too.
  const auto model = make_stage_model(config, {1, 2, false, true}, *owner.operations);
  std::vector<Tensor> weights = like(*owner.operations, model->parameters(), NAN);
  read_weights(WeightFolder(folder.path().string()), model->parameters(), *owner.operations, weights);
  for (size_t i = 0; i < weights.size(); ++i) {
    CAPTURE(model->parameters()[i].name);
    const std::vector<float> found = values(*owner.operations, weights[i]);
    bool same = true;
    for (size_t k = 0; k < found.size(); ++k) same = same && found[k] == value_at(k);
    CHECK(same);
  }
}

TEST_CASE("a table is read with other numbers of rows, each new one the mean of those in the folder",
          "[weights][vocabulary]") {
  const int64_t rows = GENERATE(16, 6);
  const int tensor_ranks = GENERATE(1, 2);
  CAPTURE(rows, tensor_ranks);
  const TemporaryFolder folder;
  ModelConfig config = tiny_config(false);
  write(folder, all_tensors(config));
  config.stored_vocab_size = std::exchange(config.vocab_size, rows);
  const int64_t stored_rows = config.stored_vocab_size, width = config.hidden_size;
  CHECK(check_weights(folder.path().string(), config).empty());

  std::vector<float> expected;
  for (int64_t i = 0; i < std::min(rows, stored_rows) * width; ++i)
    expected.push_back(value_at(static_cast<size_t>(i)));
  for (int64_t i = static_cast<int64_t>(expected.size()); i < rows * width; ++i) {
    double sum = 0;
    for (int64_t row = 0; row < stored_rows; ++row)
      sum += static_cast<double>(value_at(static_cast<size_t>(row * width + i % width)));
    expected.push_back(static_cast<float>(sum / static_cast<double>(stored_rows)));
  }
  const auto owner = make_operations("reference");
  for (const char* table : {"model.embed_tokens.weight", "lm_head.weight"}) {
    std::vector<float> found;
    for (int rank = 0; rank < tensor_ranks; ++rank) {
      std::vector<Parameter> parameters = stage_parameters(config, {0, 2, true, true}, {rank, tensor_ranks});
      std::erase_if(parameters, [&](const Parameter& each) { return each.name != table; });
      REQUIRE(parameters.size() == 1);
      std::vector<Tensor> weights = like(*owner.operations, parameters, NAN);
      read_weights(WeightFolder(folder.path().string()), parameters, *owner.operations, weights);
      const std::vector<float> part = values(*owner.operations, weights[0]);
      found.insert(found.end(), part.begin(), part.end());
    }
    CHECK(found == expected);
    const ModelFolderSource source(folder.path().string(), config);
    std::vector<float> whole(expected.size());
    for (size_t index = 0; index < source.slices().size(); ++index)
      if (source.slices()[index].name == table) source.read(index, 0, whole);
    CHECK(whole == expected);
  }
}

TEST_CASE("missing and misshapen tensors are refused and named", "[weights]") {
  const TemporaryFolder folder;
  const ModelConfig config = tiny_config(false);
  const std::string name = "model.layers.1.mlp.up_proj.weight";
  const auto check = [&] { check_weights(folder.path().string(), config); };
  const auto read = [&] {
    const auto owner = make_operations("reference");
    const std::vector<Parameter> parameters = model_parameters(config);
    std::vector<Tensor> weights = like(*owner.operations, parameters, 0);
    read_weights(WeightFolder(folder.path().string()), parameters, *owner.operations, weights);
  };
  check_says(message_of(check), {"model.safetensors"});  // there is no file

  Tensors tensors = all_tensors(config);
  tensors[name] = stored({8, 10}, "F32");
  write(folder, tensors);
  check_says(message_of(check), {"model.safetensors", name.c_str(), "[8, 10]", "[10, 8]"});
  check_says(message_of(read), {"model.safetensors", name.c_str(), "[8, 10]", "[10, 8]"});

  tensors[name] = stored({10, 8}, "I32");
  write(folder, tensors);
  check_says(message_of(check), {"model.safetensors", name.c_str(), "I32", "BF16"});

  tensors.erase(name);
  write(folder, tensors);
  check_says(message_of(check), {"model.safetensors", name.c_str(), "missing", "[10, 8]"});
  check_says(message_of(read), {"model.safetensors", name.c_str(), "missing", "[10, 8]"});
}

TEST_CASE("surplus tensors are reported, but for those that old files are known to have", "[weights]") {
  const TemporaryFolder folder;
  const ModelConfig tied = tiny_config(true);
  Tensors tensors = all_tensors(tied);
  tensors["lm_head.weight"] = stored({11, 8}, "F32");
  tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = stored({2}, "F32");
  write(folder, tensors);
  CHECK(check_weights(folder.path().string(), tied).empty());
  CHECK(surplus_warning(folder.path().string(), {}).empty());

  tensors["model.layers.2.extra"] = stored({2}, "F32");
  tensors["another"] = stored({2}, "I32");
  write(folder, tensors);
  const auto surplus = check_weights(folder.path().string(), tied);
  CHECK(surplus == std::vector<std::string>{"another", "model.layers.2.extra"});
  check_says(surplus_warning(folder.path().string(), surplus),
             {"model.safetensors", "2 tensors", "another, model.layers.2.extra"});
}

TEST_CASE("a head is the model's own where its values are others than the embedding's", "[weights]") {
  const TemporaryFolder folder;
  const std::string path = folder.path().string(), head = "lm_head.weight",
                    embedding = "model.embed_tokens.weight";
  ModelConfig config = tiny_config();
  config.vocab_size = 300;
  config.hidden_size = 700;
  CHECK_FALSE(has_own_head(path, config));                  // there is no file
  Tensors tensors{{embedding, stored({300, 700}, "F32")}};  // more than one piece
  const auto own = [&](const StoredInFile& other) {
    tensors[head] = other;
    write(folder, tensors);
    return has_own_head(path, config);
  };
  write(folder, tensors);
  CHECK_FALSE(has_own_head(path, config));
  CHECK_FALSE(own(stored({300, 700}, "F32")));
  CHECK_FALSE(own(stored({300, 700}, "BF16")));  // the same values
  CHECK(own(stored({300, 699}, "F32")));
  for (const char* dtype : {"F32", "BF16"}) {
    StoredInFile other = stored({300, 700}, dtype);
    other.bytes.back() ^= std::byte{0x80};  // the last value's sign
    CHECK(own(other));
  }
}

namespace {

// The tensors as two files and their index.
void write_sharded(const TemporaryFolder& folder, const Tensors& tensors) {
  std::vector<SafetensorsItem> items[2];
  nlohmann::json map;
  for (const auto& [name, tensor] : tensors) {
    const size_t file = map.size() % 2;
    items[file].push_back(
        {name, tensor.dtype, tensor.shape, [&bytes = tensor.bytes] { return std::span(bytes); }});
    map[name] = file == 0 ? "a.safetensors" : "b.safetensors";
  }
  write_safetensors(folder / "a.safetensors", items[0]);
  write_safetensors(folder / "b.safetensors", items[1]);
  folder.write("model.safetensors.index.json", nlohmann::json{{"weight_map", map}}.dump());
}

std::vector<int32_t> narrow(const std::vector<int64_t>& sizes) {
  return {sizes.begin(), sizes.end()};
}

// The tensors as torch.save has them; matrices are stored column by column.
void write_torch(const TemporaryFolder& folder, const Tensors& tensors) {
  std::vector<std::pair<std::string, std::string>> items;
  std::vector<std::string> storages;
  for (const auto& [name, stored] : tensors) {
    const std::string data =
        pickled_storage(std::to_string(storages.size()), static_cast<int32_t>(stored.bytes.size() / 4));
    std::string bytes(reinterpret_cast<const char*>(stored.bytes.data()), stored.bytes.size());
    std::vector<int32_t> shape = narrow(stored.shape), strides = {1};
    if (shape.size() == 2) {
      strides = {1, shape[0]};
      for (int32_t row = 0; row < shape[0]; ++row)
        for (int32_t column = 0; column < shape[1]; ++column)
          std::memcpy(bytes.data() + 4 * (column * shape[0] + row),
                      stored.bytes.data() + 4 * (row * shape[1] + column), 4);
    }
    items.emplace_back(name, pickled_tensor(data, 0, shape, strides));
    storages.push_back(bytes);
  }
  folder.write("pytorch_model.bin", torch_file(pickle_of(dict_of(items)), storages));
}

// Values that differ from each other.
Tensors distinct_tensors(const ModelConfig& config) {
  Tensors tensors;
  for (const NamedTensor& each : tensors_of(model_parameters(config))) {
    StoredInFile& one = tensors[each.name] = {"F32", dims(each.shape), {}};
    for (int64_t i = 0; i < each.shape.numel(); ++i) {
      const auto value = static_cast<float>(i) + static_cast<float>(tensors.size()) / 64;
      const auto* first = reinterpret_cast<const std::byte*>(&value);
      one.bytes.insert(one.bytes.end(), first, first + 4);
    }
  }
  return tensors;
}

// All weights of all ranks of two stages and two shards.
std::vector<std::vector<float>> weights_of_all_ranks(const TemporaryFolder& folder,
                                                     const ModelConfig& config) {
  const auto owner = make_operations("cpu");
  std::vector<std::vector<float>> all;
  for (const StageRange& range : two_stages)
    for (int rank = 0; rank < 2; ++rank) {
      const auto model = make_stage_model(config, range, *owner.operations, {rank, 2});
      std::vector<Tensor> weights = like(*owner.operations, model->parameters(), NAN);
      read_weights(WeightFolder(folder.path().string()), model->parameters(), *owner.operations, weights);
      for (const Tensor& weight : weights) all.push_back(values(*owner.operations, weight));
    }
  return all;
}

}  // namespace

TEST_CASE("every rank reads the same weights from one file, from several, and from PyTorch's", "[weights]") {
  const std::string family = GENERATE("llama", "gpt2", "gpt_neox");
  CAPTURE(family);
  ModelConfig config = as_family(tiny_config(false), family);
  config.vocab_size = 12;
  const Tensors tensors = distinct_tensors(config);
  const TemporaryFolder one, several, torch;
  write(one, tensors);
  write_sharded(several, tensors);
  write_torch(torch, tensors);
  const auto expected = weights_of_all_ranks(one, config);
  for (const TemporaryFolder* folder : {&several, &torch}) {
    CHECK(check_weights(folder->path().string(), config).empty());
    CHECK(weights_of_all_ranks(*folder, config) == expected);
  }
}

TEST_CASE("a parameter is read in parts, whatever its pieces are", "[weights]") {
  const TemporaryFolder folder;
  const Shape shape{1100, 1030};  // more than is read at once
  Tensors tensors;
  for (const char* name : {"a", "b"}) {
    StoredInFile& one = tensors[name] = {"F32", dims(shape), {}};
    for (int64_t i = 0; i < shape.numel(); ++i) {
      const float value = static_cast<float>(i) + (*name == 'b' ? 0.25f : 0.0f);
      const auto* first = reinterpret_cast<const std::byte*>(&value);
      one.bytes.insert(one.bytes.end(), first, first + 4);
    }
  }
  write(folder, tensors);
  // Columns [10, 1010) of a, and below them columns [7, 807) of b, each as a row.
  const Parameter parameter =
      stacked("both", {part_of_tensor("a", shape, 10, 1000, true), part_of_tensor("b", shape, 7, 800, true)});
  const auto owner = make_operations("cpu");
  std::vector<Tensor> weights = like(*owner.operations, {parameter}, NAN);
  read_weights(WeightFolder(folder.path().string()), {parameter}, *owner.operations, weights);
  const std::vector<float> found = values(*owner.operations, weights[0]);
  bool same = true;
  for (int64_t row = 0; row < 1800; ++row)
    for (int64_t column = 0; column < 1100; ++column) {
      const int64_t in_tensor = column * 1030 + (row < 1000 ? row + 10 : row - 1000 + 7);
      same = same && found[static_cast<size_t>(row * 1100 + column)] ==
                         static_cast<float>(in_tensor) + (row < 1000 ? 0.0f : 0.25f);
    }
  CHECK(same);
}

TEST_CASE("all that does not fit is listed in one message, in part where it is much", "[weights]") {
  const TemporaryFolder folder;
  ModelConfig config = tiny_config(false);
  Tensors tensors = all_tensors(config);
  const std::string up = "model.layers.1.mlp.up_proj.weight", down = "model.layers.0.mlp.down_proj.weight";
  tensors[up] = stored({8, 10}, "F32");
  tensors[down] = stored({8, 10}, "I32");
  tensors.erase("model.norm.weight");
  tensors["extra"] = stored({1}, "F32");
  write_sharded(folder, tensors);
  const auto check = [&] { check_weights(folder.path().string(), config); };
  check_says(
      message_of(check),
      {"model.safetensors.index.json: its tensors are not the model's", "1 of another shape", up.c_str(),
       ".safetensors has shape [8, 10], [10, 8] is right", "1 of a dtype that cannot be read", down.c_str(),
       "is I32", "1 missing: model.norm.weight [8]", "1 left over: extra"});

  config.num_hidden_layers = 30;  // 16 tensors a layer
  const std::string message = message_of(check);
  check_says(message, {"449 missing: model.layers.2.", " and 447 more"});
  CHECK(message.size() < 1500);
}
