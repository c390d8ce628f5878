// The engine's own callbacks. Each is in the file of its name, and io/callback_options.cpp declares its
// options.
#pragma once

#include <memory>

#include "runtime/callback.hpp"

namespace collie {

std::unique_ptr<Callback> make_early_stopping(const OptionValues& options);
std::unique_ptr<Callback> make_non_finite_guard(const OptionValues& options);
std::unique_ptr<Callback> make_spike_guard(const OptionValues& options);
std::unique_ptr<Callback> make_time_limit(const OptionValues& options);

}  // namespace collie
