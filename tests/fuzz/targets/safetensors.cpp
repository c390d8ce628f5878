#include "io/safetensors.hpp"

#include "tests/fuzz/targets.hpp"
#include "tests/fuzz/targets/support.hpp"

namespace collie::test {

void read_safetensors(const std::string& folder, const std::string& contents) {
  const SafetensorsFile file(put(folder, "model.safetensors", contents));
  for (const StoredTensor& entry : file.tensors()) {
    must(entry.bytes() <= contents.size(), "a tensor is longer than its file");
    std::vector<float> values(static_cast<size_t>(entry.elements));
    if (entry.dtype == "F32" || entry.dtype == "BF16" || entry.dtype == "F16")
      file.to_float(entry.name, values);
  }
  use_weights(WeightFolder(folder));
}

}  // namespace collie::test
