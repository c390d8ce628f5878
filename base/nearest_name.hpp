// Which name was meant.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace collie {

// How far a name that somebody wrote is from one that is known: insertions, deletions, substitutions and
// swaps of neighbours (optimal string alignment), where case and the difference of - and _ do not count, and
// 1 where one begins the other ("optim", "optimizer"). Nothing where they are not alike at all.
std::optional<size_t> name_distance(const std::string& written, const std::string& known);

// The nearest of `known` that at most a third of the letters set apart.
std::optional<std::string> nearest_name(const std::string& written, const std::vector<std::string>& known);

}  // namespace collie
