// eval/ in a run's folder: the predictions of sets that keep them, a file NAME-STEP.jsonl for each
// evaluation.
#pragma once

#include <cstdint>
#include <string>

#include "io/config.hpp"
#include "io/run_folder.hpp"

namespace collie {

inline constexpr const char* predictions_folder_name = "eval/";

bool keeps_predictions(const Config& config);

// Writes the file of a set's evaluation after `step`, in one step. Throws RunError.
void keep_predictions(const RunFolder& folder, const std::string& set, int64_t step,
                      const std::string& lines);

// For a resume: removes the run's files of later steps than `step`. Throws RunError.
void drop_predictions_after(const RunFolder& folder, int64_t step);

}  // namespace collie
