#include "models/rope_scaling.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.hpp"

namespace collie {
namespace {

// Wavelengths that fit into the original positions high_frequency_factor times stay, those that fit fewer
// than low_frequency_factor times are divided, and between the two the share is linear in that number.
double llama3_frequency(double frequency, const RopeScaling& scaling) {
  const double turns = static_cast<double>(scaling.original_positions) * frequency / (2 * std::numbers::pi);
  if (turns > scaling.high_frequency_factor) return frequency;
  if (turns < scaling.low_frequency_factor) return frequency / scaling.factor;
  const double kept =
      (turns - scaling.low_frequency_factor) / (scaling.high_frequency_factor - scaling.low_frequency_factor);
  return (1 - kept) * frequency / scaling.factor + kept * frequency;
}

// The channels between which YaRN goes from frequencies that stay to those that are divided.
struct YarnRamp {
  double low = 0, high = 0;

  YarnRamp(double theta, int64_t rotated, const RopeScaling& scaling) {
    const auto channels = static_cast<double>(rotated);
    // The channel that turns so often over the original positions.
    const auto channel_of = [&](double turns) {
      const double wavelength = static_cast<double>(scaling.original_positions) / turns;
      return channels * std::log(wavelength / (2 * std::numbers::pi)) / (2 * std::log(theta));
    };
    low = channel_of(scaling.beta_fast);
    high = channel_of(scaling.beta_slow);
    if (scaling.truncate) {
      low = std::floor(low);
      high = std::ceil(high);
    }
    low = std::max(low, 0.0);
    high = std::min(high, channels - 1);
    if (low == high) high += 0.001;  // as transformers has it
  }

  double divided_part(int64_t channel) const {
    return std::clamp((static_cast<double>(channel) - low) / (high - low), 0.0, 1.0);
  }
};

}  // namespace

std::vector<double> rotary_frequencies(double theta, int64_t rotated, const RopeScaling& scaling,
                                       bool is_long) {
  std::vector<double> frequencies(static_cast<size_t>(rotated / 2));
  for (size_t i = 0; i < frequencies.size(); ++i)
    frequencies[i] = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(rotated));
  switch (scaling.kind) {
    case RopeScalingKind::none:
    case RopeScalingKind::dynamic:
      break;
    case RopeScalingKind::linear:
      for (double& frequency : frequencies) frequency /= scaling.factor;
      break;
    case RopeScalingKind::llama3:
      for (double& frequency : frequencies) frequency = llama3_frequency(frequency, scaling);
      break;
    case RopeScalingKind::yarn: {
      const YarnRamp ramp(theta, rotated, scaling);
      for (size_t i = 0; i < frequencies.size(); ++i) {
        const double divided = ramp.divided_part(static_cast<int64_t>(i));
        frequencies[i] *= divided / scaling.factor + (1 - divided);
      }
      break;
    }
    case RopeScalingKind::longrope: {
      const std::vector<double>& factors = is_long ? scaling.long_factors : scaling.short_factors;
      COLLIE_ASSERT(factors.size() == frequencies.size(), "{} factors for {} frequencies", factors.size(),
                    frequencies.size());
      for (size_t i = 0; i < frequencies.size(); ++i) frequencies[i] /= factors[i];
      break;
    }
  }
  return frequencies;
}

}  // namespace collie
