#include "tests/fuzz/targets.hpp"
#include "tests/fuzz/targets/support.hpp"

namespace collie::test {

void read_torch_file(const std::string& folder, const std::string& contents) {
  put(folder, "pytorch_model.bin", contents);
  use_weights(WeightFolder(folder));
}

}  // namespace collie::test
