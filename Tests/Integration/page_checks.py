"""What holds of every report page, measured in a real browser: nothing is loaded, nothing sticks out, everything is readable and named."""

from browser import DARK, LIGHT

PHONE, DESK = 360, 1280

# What is wider than the window although nothing scrolls it, as CSS selectors.
STICKING_OUT = """
[...document.querySelectorAll('body *')].filter(e => {
  const box = e.getBoundingClientRect()
  return box.width > 0 && box.right > WIDTH + 1 && !e.closest('.scroll, .defs, .fleet thead, .skip')
}).slice(0, 5).map(e => e.tagName + '.' + (e.className.baseVal ?? e.className) + ': ' + e.textContent.slice(0, 40))
"""

# Texts whose contrast with what is behind them is too low: [ratio, wanted, text].
LOW_CONTRAST = """
(() => {
  const parse = text => { const n = text.match(/[0-9.]+/g).map(Number); return {rgb: n.slice(0, 3), a: n[3] ?? 1} }
  const channel = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4
  const light = rgb => 0.2126 * channel(rgb[0]) + 0.7152 * channel(rgb[1]) + 0.0722 * channel(rgb[2])
  const over = (top, below) => top.rgb.map((v, i) => v * top.a + below[i] * (1 - top.a))
  const behind = e => {
    const layers = []
    for (let at = e; at; at = at.parentElement) {
      const back = parse(getComputedStyle(at).backgroundColor)
      layers.push(back)
      if (back.a === 1) break
    }
    return layers.reverse().reduce((below, back) => over(back, below), [255, 255, 255])
  }
  const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  for (let count = 0; walker.nextNode() && count < 20000; count++) {
    const text = walker.currentNode.textContent.trim(), e = walker.currentNode.parentElement
    if (!text || e.closest('title, desc, style') || !e.getClientRects().length) continue
    const style = getComputedStyle(e), back = behind(e), svg = e.closest('svg')
    const front = over(parse(svg ? style.fill : style.color), back)
    const [high, low] = [light(front), light(back)].sort((a, b) => b - a), ratio = (high + 0.05) / (low + 0.05)
    if (ratio < 4.5) found.push([ratio.toFixed(2), text.slice(0, 40)])
  }
  return found.slice(0, 10)
})()
"""

# Contrast of every colour that a drawing is filled with against the empty part behind it.
DRAWN_CONTRAST = """
(() => {
  const probe = document.createElement('i'); document.body.append(probe)
  const value = name => { probe.style.color = `var(${name})`; return getComputedStyle(probe).color.match(/[0-9.]+/g).slice(0, 3).map(Number) }
  const channel = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4
  const light = n => { const c = value(n); return 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]) }
  const ratios = Object.fromEntries(['--c0', '--c1', '--c2', '--c3', '--c4', '--c5', '--cz', '--edge'].map(n => {
    const [high, low] = [light(n), light('--empty')].sort((a, b) => b - a)
    return [n, (high + 0.05) / (low + 0.05)]
  }))
  probe.remove()
  return ratios
})()
"""


class PageChecks:
    """A part of a `DroverCase`: assertions about the page that `browser` shows."""

    def check_page(self, browser, page):
        """Everything, in both themes and both widths, folded up and unfolded."""
        for width, height in ((DESK, 900), (PHONE, 800)):
            for theme in (LIGHT, DARK):
                with self.subTest(width=width, theme=theme):
                    browser.show(page, width, height, theme)
                    self.check_nothing_is_loaded(browser, page)
                    for unfolded in (False, True):
                        if unfolded:
                            browser.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
                        self.check_layout(browser, width)
                        self.assertEqual(browser.evaluate(LOW_CONTRAST), [])
                    weak = {name: ratio for name, ratio in browser.evaluate(DRAWN_CONTRAST).items() if ratio < 3}
                    self.assertEqual(weak, {}, "a drawing's colour is too near to what is behind it")
        self.check_accessibility(browser)

    def check_nothing_is_loaded(self, browser, page):
        self.assertEqual([address for address in browser.addresses if not address.endswith(".html")], [])
        self.assertEqual(len(browser.addresses), 1, browser.addresses)
        self.assertEqual(browser.complaints, [])
        self.assertEqual(browser.evaluate("[...document.scripts].map(e => e.src)"), [""])

    def check_layout(self, browser, width):
        # Not `innerWidth`: a phone zooms out where something is too wide, and then that is wide as well.
        self.assertLessEqual(browser.evaluate("document.documentElement.scrollWidth"), width)
        self.assertEqual(browser.evaluate(STICKING_OUT.replace("WIDTH", str(width))), [])

    def check_accessibility(self, browser):
        """What a screen reader is told of the unfolded page."""
        self.assertEqual(browser.evaluate("document.documentElement.lang"), "en")
        self.assertEqual(browser.evaluate("document.querySelectorAll('h1').length"), 1)
        levels = browser.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(e => Number(e.tagName[1]))")
        for level, following in zip(levels, levels[1:]):
            self.assertLessEqual(following, level + 1, f"a level of headings is left out: {levels}")
        tree = browser.accessibility_tree()
        roles = [role for role, _, _ in tree]
        for role in ("main", "banner", "contentinfo"):
            self.assertEqual(roles.count(role), 1, role)
        for role, name, _ in tree:
            if role in ("link", "image", "img", "region", "table", "columnheader", "rowheader", "heading"):
                self.assertTrue(name.strip(), f"a {role} without a name")
        unscoped = "document.querySelectorAll('th:not([scope]), table:not(:has(caption))').length"
        self.assertEqual(browser.evaluate(unscoped), 0)
        unnamed = "[...document.querySelectorAll('svg')].filter(e => !e.ariaHidden && !(e.role === 'img' && e.querySelector('title, desc'))).length"
        self.assertEqual(browser.evaluate(unnamed), 0)
