// What the targets have in common.
#pragma once

#include <map>
#include <string>

#include "io/config.hpp"
#include "io/weight_folder.hpp"

namespace collie::test {

// Writes a file and returns its path.
std::string put(const std::string& folder, const std::string& name, const std::string& contents);

// A defect of the engine unless it holds.
void must(bool holds, const char* what);

// Contents that stand for several files: a line "==> NAME" begins each. What stands before the first is left
// out.
std::map<std::string, std::string> parts(const std::string& contents);

// Opens a data set of one file.
void read_data(const std::string& folder, const std::string& file, const std::string& contents,
               DataSource source);

// Loads the folder's tokenizer, encodes and decodes.
void use_tokenizer(const std::string& folder);

// Reads values, as far as a tiny model could ask for them.
void use_weights(const WeightFolder& weights);

}  // namespace collie::test
