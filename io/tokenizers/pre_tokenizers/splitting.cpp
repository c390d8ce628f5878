#include "io/tokenizers/pre_tokenizers/splitting.hpp"

#include <algorithm>

namespace collie {

MatchBecomes read_behavior(const JsonPlace& description, const char* otherwise) {
  static const std::map<std::string, MatchBecomes> known = {
      {"Contiguous", MatchBecomes::contiguous},
      {"Isolated", MatchBecomes::isolated},
      {"MergedWithNext", MatchBecomes::merged_with_next},
      {"MergedWithPrevious", MatchBecomes::merged_with_previous},
      {"Removed", MatchBecomes::removed}};
  const std::string name = description.text("behavior", otherwise);
  const auto found = known.find(name);
  if (found == known.end())
    description["behavior"].refuse(fmt::format(
        "it must be Contiguous, Isolated, MergedWithNext, MergedWithPrevious or Removed, not '{}'",
        shortened(name)));
  return found->second;
}

namespace {

// Joins each match to the part that `parts`' order puts before it, unless that is a match that was not
// joined.
template <class Join>
void join_matches(const std::vector<PatternPart>& parts, std::vector<TextRange>& joined, const Join& join) {
  bool after_match = false;
  for (const auto& part : parts) {
    if (part.matches && !after_match && !joined.empty())
      join(joined.back(), part.range);
    else
      joined.push_back(part.range);
    after_match = part.matches;
  }
}

std::vector<TextRange> merged(std::vector<PatternPart> parts, MatchBecomes becomes) {
  std::vector<TextRange> ranges;
  switch (becomes) {
    case MatchBecomes::removed:
    case MatchBecomes::isolated:
      for (const auto& part : parts)
        if (becomes == MatchBecomes::isolated || !part.matches) ranges.push_back(part.range);
      break;
    case MatchBecomes::contiguous:
      for (size_t i = 0; i < parts.size(); ++i)
        if (i > 0 && parts[i].matches == parts[i - 1].matches)
          ranges.back().end = parts[i].range.end;
        else
          ranges.push_back(parts[i].range);
      break;
    case MatchBecomes::merged_with_previous:
      join_matches(parts, ranges, [](TextRange& before, const TextRange& match) { before.end = match.end; });
      break;
    case MatchBecomes::merged_with_next:
      std::reverse(parts.begin(), parts.end());
      join_matches(parts, ranges,
                   [](TextRange& after, const TextRange& match) { after.begin = match.begin; });
      std::reverse(ranges.begin(), ranges.end());
      break;
  }
  return ranges;
}

}  // namespace

void merge_parts(const std::vector<PatternPart>& parts, MatchBecomes becomes, size_t offset,
                 std::vector<TextRange>& ranges) {
  const auto append = [&](const TextRange& range) {
    if (range.size() > 0) ranges.push_back({range.begin + offset, range.end + offset});
  };
  if (becomes == MatchBecomes::isolated)  // by far the most common, and the longest lists
    for (const auto& part : parts) append(part.range);
  else
    for (const auto& range : merged(parts, becomes)) append(range);
}

}  // namespace collie
