// What a Renderer is inside of while it evaluates a block.
#pragma once

#include "io/jinja/renderer.hpp"

namespace collie::jinja {

// A new scope within another one. It is kept if a macro holds it.
class Renderer::ScopeHere {
 public:
  ScopeHere(Renderer& renderer, std::shared_ptr<Scope> parent)
      : renderer_(renderer), before_(renderer.scope_) {
    renderer_.scope_ = std::make_shared<Scope>(std::move(parent));
  }
  ~ScopeHere() {
    if (renderer_.scope_.use_count() > 1) renderer_.kept_scopes_.push_back(std::move(renderer_.scope_));
    renderer_.scope_ = std::move(before_);
  }
  ScopeHere(const ScopeHere&) = delete;
  ScopeHere& operator=(const ScopeHere&) = delete;

 private:
  Renderer& renderer_;
  std::shared_ptr<Scope> before_;
};

// What is written goes to `text`.
class Renderer::OutputHere {
 public:
  OutputHere(Renderer& renderer, std::string& text) : renderer_(renderer), before_(renderer.output_) {
    renderer_.output_ = &text;
  }
  ~OutputHere() { renderer_.output_ = before_; }
  OutputHere(const OutputHere&) = delete;
  OutputHere& operator=(const OutputHere&) = delete;

 private:
  Renderer& renderer_;
  std::string* before_;
};

}  // namespace collie::jinja
