#include "io/tokenizers/models/vocabulary.hpp"

#include <algorithm>

#include "base/quote.hpp"

namespace collie {

Vocabulary::Vocabulary(const JsonPlace& object) {
  if (!object.value().is_object() || object.value().empty())
    object.refuse("it must be an object from tokens to ids, with at least one");
  // Tables are as long as the largest id, so a small file must not have a large one.
  const auto count = static_cast<int64_t>(object.value().size());
  const int64_t most_ids = std::min(most_token_ids, std::max(int64_t{1} << 20, 16 * count));
  ids_.reserve(object.value().size());
  for (const auto& [token, value] : object.value().items()) {
    const JsonPlace place = object.inside(value, "'" + shortened(token) + "'");
    const int64_t id = place.integer();
    if (id < 0 || id >= most_ids)
      place.refuse(fmt::format("id {} is out of range; ids go from 0 to {}", id, most_ids - 1));
    if (id >= size()) tokens_.resize(static_cast<size_t>(id) + 1);
    auto& named = tokens_[static_cast<size_t>(id)];
    if (named)
      place.refuse(
          fmt::format("id {} is also that of '{}'; each token needs its own", id, shortened(*named)));
    named = &ids_.emplace(token, static_cast<int32_t>(id)).first->first;
  }
}

void Vocabulary::append(const std::string& token) {
  const auto id = static_cast<int32_t>(tokens_.size());
  const auto [entry, added] = ids_.insert_or_assign(token, id);
  if (added) {
    tokens_.push_back(&entry->first);
  } else {
    doubles_.push_back(std::make_unique<std::string>(token));
    tokens_.push_back(doubles_.back().get());
  }
}

std::optional<int32_t> Vocabulary::find(const std::string& token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

const std::string* Vocabulary::token(int32_t id) const {
  return id < 0 || id >= size() ? nullptr : tokens_[static_cast<size_t>(id)];
}

std::optional<int32_t> read_unknown_token(const JsonPlace& model, const char* key,
                                          const Vocabulary& vocabulary) {
  const auto unknown = model.find(key);
  if (!unknown) return std::nullopt;
  const auto id = vocabulary.find(unknown->text());
  if (!id)
    unknown->refuse(
        fmt::format("'{}' is not in the vocabulary; it must be, or be null", shortened(unknown->text())));
  return id;
}

}  // namespace collie
