#include "models/weights_io.hpp"

#include <cstring>
#include <map>

#include "io/safetensors.hpp"
#include "models/stage_model.hpp"
#include "tests/catch.hpp"
#include "tests/io/temporary_folder.hpp"
#include "tests/models/messages.hpp"
#include "tests/models/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

struct Stored {
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

Stored stored(const Shape& shape, const std::string& dtype) {
  Stored tensor{dtype, dims(shape), {}};
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

using Tensors = std::map<std::string, Stored>;

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
  read_weights(folder.path().string(), model->parameters(), *owner.operations, weights);
  for (size_t i = 0; i < weights.size(); ++i) {
    CAPTURE(model->parameters()[i].name);
    const std::vector<float> found = values(*owner.operations, weights[i]);
    bool same = true;
    for (size_t k = 0; k < found.size(); ++k) same = same && found[k] == value_at(k);
    CHECK(same);
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
    read_weights(folder.path().string(), parameters, *owner.operations, weights);
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
  CHECK_FALSE(has_own_head(path, tiny_config()));           // there is no file
  Tensors tensors{{embedding, stored({300, 700}, "F32")}};  // more than one piece
  const auto own = [&](const Stored& other) {
    tensors[head] = other;
    write(folder, tensors);
    return has_own_head(path, tiny_config());
  };
  write(folder, tensors);
  CHECK_FALSE(has_own_head(path, tiny_config()));
  CHECK_FALSE(own(stored({300, 700}, "F32")));
  CHECK_FALSE(own(stored({300, 700}, "BF16")));  // the same values
  CHECK(own(stored({300, 699}, "F32")));
  for (const char* dtype : {"F32", "BF16"}) {
    Stored other = stored({300, 700}, dtype);
    other.bytes.back() ^= std::byte{0x80};  // the last value's sign
    CHECK(own(other));
  }
}

TEST_CASE("weights in several files are refused for now", "[weights]") {
  const TemporaryFolder folder;
  folder.write("model.safetensors.index.json", "{}");
  check_says(message_of([&] { check_weights(folder.path().string(), tiny_config()); }),
             {"model.safetensors.index.json", "not yet"});
}
