#include "optim/optimizer.hpp"

namespace collie {

double clip_scale(double norm, double max_norm) {
  if (!(max_norm > 0.0)) return 1.0;
  const double scale = max_norm / (norm + 1e-6);
  return scale >= 1.0 ? 1.0 : scale;  // NaN stays NaN: it must not look like a gradient that was clipped
}

}  // namespace collie
