#include "base/nearest_name.hpp"

#include <algorithm>
#include <cctype>

namespace collie {

namespace {

constexpr size_t longest_name = 64;  // no known name is longer; the table below grows with both lengths

std::string normalised(std::string name) {
  for (char& c : name) c = c == '-' ? '_' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name;
}

size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t change = d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  }
  return d[a.size()][b.size()];
}

bool one_begins_other(const std::string& a, const std::string& b) {
  const size_t size = std::min(a.size(), b.size());
  return size >= 4 && a.size() != b.size() && a.compare(0, size, b, 0, size) == 0;
}

}  // namespace

std::optional<size_t> name_distance(const std::string& written, const std::string& known) {
  if (written.size() > longest_name || known.size() > longest_name) return std::nullopt;
  const std::string name = normalised(written);
  return one_begins_other(name, known) ? 1 : edit_distance(name, known);
}

std::optional<std::string> nearest_name(const std::string& written, const std::vector<std::string>& known) {
  std::optional<std::string> best;
  size_t least = std::max<size_t>(1, written.size() / 3) + 1;
  for (const std::string& name : known) {
    const auto distance = name_distance(written, name);
    if (!distance || *distance >= least) continue;
    best = name;
    least = *distance;
  }
  return best;
}

}  // namespace collie
