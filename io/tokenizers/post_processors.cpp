#include "io/tokenizers/post_processors.hpp"

#include "base/quote.hpp"

namespace collie {

namespace {

int32_t read_id(const JsonPlace& place, int64_t vocab_size) {
  const int64_t id = place.integer();
  if (id < 0 || id >= vocab_size) place.refuse(fmt::format("id {} is not in the vocabulary", id));
  return static_cast<int32_t>(id);
}

AddedAround read_template(const JsonPlace& description, int64_t vocab_size) {
  AddedAround added;
  const JsonPlace pieces = description["single"];
  bool text_seen = false;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const JsonPlace piece = pieces[i];
    if (const auto sequence = piece.find("Sequence")) {
      const JsonPlace id = (*sequence)["id"];
      if (id.text() != "A" || text_seen)
        id.refuse("a template for one text must have sequence A once, and no other");
      text_seen = true;
      continue;
    }
    const std::string name = piece["SpecialToken"]["id"].text();
    const JsonPlace ids = description["special_tokens"][name]["ids"];
    for (size_t k = 0; k < ids.size(); ++k)
      (text_seen ? added.after : added.before).push_back(read_id(ids[k], vocab_size));
  }
  if (!text_seen) pieces.refuse("it has no {\"Sequence\": {\"id\": \"A\"}}, so the text would be lost");
  return added;
}

// BertProcessing and RobertaProcessing: "cls" before the text and "sep" after it, each [token, id].
AddedAround read_pair(const JsonPlace& description, int64_t vocab_size) {
  return {{read_id(description["cls"][size_t{1}], vocab_size)},
          {read_id(description["sep"][size_t{1}], vocab_size)}};
}

// Each later one of a list works on what the earlier ones made.
AddedAround read_sequence(const JsonPlace& description, int64_t vocab_size) {
  AddedAround all;
  const JsonPlace list = description["processors"];
  for (size_t i = 0; i < list.size(); ++i) {
    const AddedAround next = read_post_processor(list[i], vocab_size);
    all.before.insert(all.before.begin(), next.before.begin(), next.before.end());
    all.after.insert(all.after.end(), next.after.begin(), next.after.end());
  }
  return all;
}

}  // namespace

AddedAround read_post_processor(const JsonPlace& description, int64_t vocab_size) {
  const JsonPlace type = description["type"];
  const std::string name = type.text();
  if (name == "ByteLevel") return {};
  if (name == "TemplateProcessing") return read_template(description, vocab_size);
  if (name == "BertProcessing" || name == "RobertaProcessing") return read_pair(description, vocab_size);
  if (name == "Sequence") return read_sequence(description, vocab_size);
  type.refuse(
      fmt::format("the post_processor '{}' is not supported; supported: BertProcessing, ByteLevel, "
                  "RobertaProcessing, Sequence, TemplateProcessing",
                  shortened(name)));
}

}  // namespace collie
