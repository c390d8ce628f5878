#include <cstdint>

#include "tests/fuzz/targets.hpp"

namespace collie::test {

// The contents are the header; its length and the data are put around it.
void read_safetensors_header(const std::string& folder, const std::string& contents) {
  const uint64_t length = contents.size();
  read_safetensors(folder, std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + contents +
                               std::string(64, 'd'));
}

}  // namespace collie::test
