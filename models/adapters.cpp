#include "models/adapters.hpp"

namespace collie {
namespace {

std::string tensor_of(const std::string& matrix, const char* part, const std::string& adapter) {
  return matrix + "." + part + (adapter.empty() ? "" : "." + adapter) + ".weight";
}

}  // namespace

std::string name_of_a(const std::string& matrix, const LowRankAdapter& adapter) {
  return tensor_of(matrix, "lora_A", adapter.name);
}

std::string name_of_b(const std::string& matrix, const LowRankAdapter& adapter) {
  return tensor_of(matrix, "lora_B", adapter.name);
}

std::string name_of_magnitude(const std::string& matrix) {
  return matrix + ".lora_magnitude_vector";
}

std::string name_of_vector(const std::string& matrix) {
  return matrix + ".ia3_l";
}

}  // namespace collie
