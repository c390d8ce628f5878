#include "base/name_pattern.hpp"

#include <fmt/ranges.h>
#include <fnmatch.h>

#include <algorithm>

#include "base/error.hpp"
#include "base/nearest_name.hpp"
#include "base/quote.hpp"

namespace collie {
namespace {

std::string advice(const std::string& pattern, const std::vector<std::string>& names) {
  if (const auto nearest = nearest_name(pattern, names))
    return fmt::format("the nearest name is {}", *nearest);
  constexpr size_t most = 5;
  const auto end = names.begin() + static_cast<std::ptrdiff_t>(std::min(most, names.size()));
  return fmt::format("there are {}{}", fmt::join(names.begin(), end, ", "),
                     names.size() > most ? ", ..." : "");
}

}  // namespace

bool matches_pattern(const std::string& pattern, const std::string& name) {
  return fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
}

bool matches_end_of_name(const std::string& pattern, const std::string& name) {
  if (matches_pattern(pattern, name)) return true;
  for (size_t dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1))
    if (matches_pattern(pattern, name.substr(dot + 1))) return true;
  return false;
}

void check_pattern_matches(const std::string& pattern, const std::vector<std::string>& names,
                           const std::string& place) {
  if (std::none_of(names.begin(), names.end(),
                   [&](const std::string& name) { return matches_pattern(pattern, name); }))
    throw UserError("{}: '{}' matches no parameter of the model; {}", place, shortened(pattern),
                    advice(pattern, names));
}

}  // namespace collie
