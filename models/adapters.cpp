#include "models/adapters.hpp"

namespace collie {
namespace {

std::string tensor_of(const std::string& matrix, const char* part, const LowRankAdapter& adapter) {
  if (adapter.has_values) return matrix + "." + part;
  return matrix + "." + part + (adapter.name.empty() ? "" : "." + adapter.name) + ".weight";
}

}  // namespace

std::string name_of_a(const std::string& matrix, const LowRankAdapter& adapter) {
  return tensor_of(matrix, "lora_A", adapter);
}

std::string name_of_b(const std::string& matrix, const LowRankAdapter& adapter) {
  return tensor_of(matrix, "lora_B", adapter);
}

std::string name_of_magnitude(const std::string& matrix) {
  return matrix + ".lora_magnitude_vector";
}

std::string name_of_values(const std::string& matrix) {
  return matrix + ".lora_E";
}

std::string name_of_vector(const std::string& matrix) {
  return matrix + ".ia3_l";
}

}  // namespace collie
