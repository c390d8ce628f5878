#include "peft/adapted_linear.hpp"

#include "base/error.hpp"
#include "peft/low_rank_linear.hpp"
#include "peft/magnitude_linear.hpp"
#include "peft/triplet_linear.hpp"
#include "peft/vector_linear.hpp"

namespace collie {

std::unique_ptr<Linear> make_adapted_linear(const MatrixIds& matrix) {
  const bool has_magnitude = !matrix.adapters.empty() && matrix.adapters.front().magnitude != no_parameter;
  COLLIE_ASSERT(!has_magnitude || matrix.adapters.size() == 1, "a magnitude for {} adapters of a matrix",
                matrix.adapters.size());
  std::unique_ptr<Linear> linear = make_dense_linear(
      {matrix.weight, has_magnitude ? no_parameter : matrix.bias, {}, {}, matrix.is_quantised});
  const bool has_values = !matrix.adapters.empty() && matrix.adapters.front().values != no_parameter;
  COLLIE_ASSERT(!has_values || matrix.adapters.size() == 1, "triplets among {} adapters of a matrix",
                matrix.adapters.size());
  if (has_values)
    linear = make_triplet_linear(std::move(linear), matrix.adapters.front());
  else if (!matrix.adapters.empty())
    linear = make_low_rank_linear(std::move(linear), matrix.adapters);
  if (has_magnitude) linear = make_magnitude_linear(std::move(linear), matrix.adapters.front(), matrix.bias);
  if (matrix.vector.exists()) linear = make_vector_linear(std::move(linear), matrix.vector);
  return linear;
}

}  // namespace collie
