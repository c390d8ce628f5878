// The samples of evaluation sets, as texts, from files with one JSON object a line.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/config.hpp"

namespace collie {

struct ClassificationSample {
  std::string place;                 // FILE:LINE
  std::string prompt;                // may be empty
  std::vector<std::string> options;  // two at least
  int64_t label = 0;                 // index of the right one
};

struct GenerationSample {
  std::string place;
  std::string prompt;                   // may be empty
  std::vector<std::string> references;  // one at least
};

// The samples of the set's files in their order; the first set.limit of them, if that is above 0. Blank lines
// are none. `section` is the path of the set's keys ("eval.sets.0"). Throws UserError naming FILE:LINE, what
// was found and what would be right: a line that is no object, a key that it lacks, fewer than two options, a
// label that is no option; or, naming the key, a pattern that matches no file, or files without a sample.
std::vector<ClassificationSample> read_classification_samples(const EvalSet& set, const ConfigFile& file,
                                                              const std::string& section);
std::vector<GenerationSample> read_generation_samples(const EvalSet& set, const ConfigFile& file,
                                                      const std::string& section);

}  // namespace collie
