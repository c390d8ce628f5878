#include "tests/fuzz/targets.hpp"
#include "tests/fuzz/targets/support.hpp"

namespace collie::test {

void read_chat(const std::string& folder, const std::string& contents) {
  DataSource source;
  source.format = "chat";
  source.chat_template =
      put(folder, "t.jinja",
          "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content | trim }}"
          "{% endgeneration %}{% else %}<{{ m.role }}>{{ m['content'][:5] ~ loop.index }}{% endif %}{% "
          "endfor %}");
  read_data(folder, "talk.jsonl", contents, source);
}

}  // namespace collie::test
