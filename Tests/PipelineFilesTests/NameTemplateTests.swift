import SystemPackage
import Testing

@testable import PipelineFiles

/// Names of targets from names of sources.
struct NameTemplateTests {
    private func path(
        _ template: String, name: String = "web", extension: String = "cow", directory: FilePath = "a/b"
    ) -> String {
        do throws(NameTemplate.Fault) {
            return try NameTemplate(template).path(
                name: name, extension: `extension`, directory: directory, format: "raw"
            ).string
        } catch {
            return error.description
        }
    }

    @Test(arguments: [
        ("{directory}/{name}.{format}", "a/b/web.raw"), ("{name}", "web"),
        ("{name}.{extension}.{format}", "web.cow.raw"),
        ("fixed", "fixed"),
        ("{directory}.{format}", "a/b.raw"), ("{format}//{directory}/x-{name}", "raw/a/b/x-web"),
        ("{name}{name}", "webweb"),
    ])
    func placeholdersAreFilledIn(template: String, name: String) { #expect(path(template) == name) }

    @Test func anEmptyDirectoryLeavesNoSlash() {
        #expect(path("{directory}/{name}.{format}", directory: "") == "web.raw")
        #expect(path("x/{directory}/{name}", directory: "") == "x/web")
    }

    @Test func theUsualTemplateIsWhatItSays() throws {
        #expect(try NameTemplate("{directory}/{name}.{format}") == .usual)
        #expect(NameTemplate.usual.description == "{directory}/{name}.{format}")
    }

    private static let known = "{name}, {extension}, {directory}, {format}"

    @Test(arguments: [
        ("{nmae}", "has '{nmae}', which is no placeholder (there are \(known))"),
        ("{}", "has '{}', which is no placeholder (there are \(known))"),
        ("{name", "has a { without its counterpart (placeholders: \(known))"),
        ("{name{format}", "has a { without its counterpart (placeholders: \(known))"),
        ("name}", "has a } without its counterpart (placeholders: \(known))"),
        ("", "gives the name '', which is empty"),
        ("/{name}", "gives the name '/name', which is absolute"),
        ("../{name}", "gives the name '../name', which has a component .."),
        ("{directory}/../{name}", "gives the name '../name', which has a component .."),
        ("./{name}", "gives the name './name', which has a component ."),
        (
            "{name}.partial",
            "gives the name 'name.partial', which has a component that ends in .partial or .manifest"
        ),
        ("{name}\0", "gives the name 'name\0', which contains a NUL"),
        ("/\u{301}{name}", "gives the name '/\u{301}name', which is absolute"),
        ("{directory}", "gives the name '', which is empty"),
    ])
    func aTemplateThatGivesNoGoodNamesIsRefused(template: String, fault: String) {
        #expect(path(template) == fault)
    }

    @Test(arguments: [
        ("..", "gives the name '..', which has a component .."),
        (
            "x.manifest",
            "gives the name 'x.manifest', which has a component that ends in .partial or .manifest"
        ),
        (
            String(repeating: "x", count: 241),
            "gives the name '\(String(repeating: "x", count: 77))...', which has a component longer than 240 bytes"
        ),
    ])
    func aSourceWhoseNameCannotBeATargetsIsRefused(name: String, fault: String) {
        #expect(path("{name}", name: name) == fault)
    }
}
