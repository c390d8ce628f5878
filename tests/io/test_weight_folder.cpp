#include "io/weight_folder.hpp"

#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "io/files.hpp"
#include "io/safetensors.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/io/temporary_folder.hpp"
#include "tests/io/torch_archive.hpp"

using namespace collie;
using namespace collie::test;
using nlohmann::json;

namespace {

// A file of one tensor [1] of a value.
void put_safetensors(const TemporaryFolder& folder, const std::string& file, const std::string& name,
                     float value) {
  const std::vector<SafetensorsItem> items = {
      {name, "F32", {1}, [&] { return std::as_bytes(std::span(&value, 1)); }}};
  write_safetensors(folder / file, items);
}
void put_torch(const TemporaryFolder& folder, const std::string& file, const std::string& name, float value) {
  folder.write(file,
               torch_file(pickle_of(dict_of({{name, pickled_tensor(pickled_storage("0", 1), 0, {1}, {1})}})),
                          {floats({value})}));
}
void put_index(const TemporaryFolder& folder, const std::string& file, const json& map) {
  folder.write(file, json{{"metadata", {{"total_size", 8}}}, {"weight_map", map}}.dump());
}

json one(const std::string& tensor, const json& file) {
  json map;
  map[tensor] = file;
  return map;
}

float value_of(const TemporaryFolder& folder, const std::string& name) {
  const WeightFolder weights(folder.path().string());
  const WeightFolder::Place& place = weights.find(name);
  std::vector<float> value(1);
  TensorReader(*place.file, *place.tensor).read(0, value);
  return value.front();
}

std::string refusal_of_folder(const TemporaryFolder& folder) {
  try {
    const WeightFolder weights(folder.path().string());
    return "accepted";
  } catch (const UserError& error) {
    return error.what();
  }
}

bool tells_of(const std::string& message, const std::vector<std::string>& parts) {
  for (const std::string& part : parts)
    if (message.find(part) == std::string::npos) {
      UNSCOPED_INFO("no '" << part << "' in: " << message);
      return false;
    }
  return true;
}

constexpr const char* index_file = "model.safetensors.index.json";

}  // namespace

TEST_CASE("of a folder's files of weights the one counts that counts for transformers") {
  const TemporaryFolder folder;
  CHECK_FALSE(WeightFolder::is_there(folder.path().string()));
  CHECK(tells_of(refusal_of_folder(folder),
                 {"model.safetensors: No such file", "pytorch_model.bin.index.json"}));
  put_torch(folder, "pytorch_model-00001-of-00001.bin", "w", 1);
  put_index(folder, "pytorch_model.bin.index.json", one("w", "pytorch_model-00001-of-00001.bin"));
  CHECK(WeightFolder::is_there(folder.path().string()));
  CHECK(value_of(folder, "w") == 1);
  put_torch(folder, "pytorch_model.bin", "w", 2);
  CHECK(value_of(folder, "w") == 2);
  put_safetensors(folder, "a.safetensors", "w", 3);
  put_index(folder, index_file, one("w", "a.safetensors"));
  CHECK(value_of(folder, "w") == 3);
  put_safetensors(folder, "model.safetensors", "w", 4);
  CHECK(value_of(folder, "w") == 4);
}

TEST_CASE("an index that does not say where its tensors are is refused, with the tensor and the file") {
  const TemporaryFolder folder;
  put_safetensors(folder, "a.safetensors", "x", 1);
  put_safetensors(folder, "b.safetensors", "y", 2);
  const auto index = [&](const json& map) {
    put_index(folder, index_file, map);
    return refusal_of_folder(folder);
  };
  CHECK(index({{"x", "a.safetensors"}, {"y", "b.safetensors"}}) == "accepted");
  CHECK(value_of(folder, "x") == 1);
  CHECK(value_of(folder, "y") == 2);
  CHECK(tells_of(index({{"x", "a.safetensors"}, {"y", "c.safetensors"}}),
                 {index_file, "names c.safetensors", "'y'", "no such file"}));
  CHECK(tells_of(index({{"x", "b.safetensors"}, {"y", "a.safetensors"}}),
                 {index_file, "'x' is in b.safetensors, but it is in a.safetensors"}));
  CHECK(tells_of(index({{"x", "a.safetensors"}, {"z", "b.safetensors"}}),
                 {index_file, "'z' is in b.safetensors, but it is in none of its files"}));
  const std::string long_name(300, 'a');
  for (const char* name :
       {"../a.safetensors", "/etc/passwd", "", "..", "sub/a.safetensors", long_name.c_str()})
    CHECK(tells_of(index(one("x", name)), {index_file, "'x'", "the name of a file beside it is right"}));
  CHECK(tells_of(index(one("x", 3)), {index_file, "'x' is in 3"}));
  CHECK(tells_of(index(json::object()), {index_file, "weight_map is {}"}));
  CHECK(tells_of(index("x"), {index_file, "weight_map is \"x\""}));
  folder.write(index_file, "{}");
  CHECK(tells_of(refusal_of_folder(folder), {index_file, "weight_map is missing"}));
  folder.write(index_file, R"({"weight_map": {"x": "a.safetensors", "x": "a.safetensors"}})");
  CHECK(tells_of(refusal_of_folder(folder), {index_file, "'x' is there twice"}));
  put_safetensors(folder, "b.safetensors", "x", 2);
  CHECK(tells_of(index({{"x", "a.safetensors"}, {"y", "b.safetensors"}}),
                 {"b.safetensors: tensor 'x' is in a.safetensors, too"}));
}
