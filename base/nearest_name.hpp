// Finds the name that was meant.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace collie {

// The distance between a name that somebody wrote and a known one: insertions, deletions, substitutions and
// swaps of neighbours (optimal string alignment). Case and the difference of - and _ do not count. The
// distance is 1 if one name begins the other ("optim", "optimizer"). Returns nothing if the two are not alike
// at all.
std::optional<size_t> name_distance(const std::string& written, const std::string& known);

// The nearest of `known`, of those that differ from `written` in at most a third of its letters, or in one
// letter if it is short.
std::optional<std::string> nearest_name(const std::string& written, const std::vector<std::string>& known);

}  // namespace collie
