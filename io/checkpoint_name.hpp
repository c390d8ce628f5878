// Names of checkpoint folders: step-00000100.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace collie {

std::string checkpoint_name(int64_t step);

// The step of the checkpoint whose name is exactly `name`; none for any other name.
std::optional<int64_t> step_of_checkpoint(const std::string& name);

}  // namespace collie
