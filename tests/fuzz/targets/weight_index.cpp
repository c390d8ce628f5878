#include <filesystem>

#include "io/safetensors.hpp"
#include "tests/fuzz/targets.hpp"
#include "tests/fuzz/targets/support.hpp"

namespace collie::test {

// The contents are the index of two files.
void read_weight_index(const std::string& folder, const std::string& contents) {
  put(folder, "model.safetensors.index.json", contents);
  for (const char* name : {"a", "b"}) {
    const float value = 1;
    const std::vector<SafetensorsItem> items = {
        {name, "F32", {1}, [&] { return std::as_bytes(std::span(&value, 1)); }}};
    write_safetensors(std::filesystem::path(folder) / (std::string(name) + ".safetensors"), items);
  }
  use_weights(WeightFolder(folder));
}

}  // namespace collie::test
